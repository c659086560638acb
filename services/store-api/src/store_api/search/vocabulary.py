"""The words and compounds of an account's messages, and which of them a clue is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from store_api.db.engine import run
from store_api.search.words import Clue

# Ours: a clue about more words says too little to be worth their lists.
MAX_WORDS_OF_CLUE: Final = 20_000

# Characters of words and compounds are letters, digits, marks and @.'-: none means anything to LIKE. Of `start` the
# collation "C" makes a range of the primary key.
_FIND: Final = {
    "whole": "word = :text",
    "start": "word >= :text AND word < :text || chr(1114111)",
    "end": "word LIKE '%' || :text",
    "part": "word LIKE '%' || :text || '%'",
}
# What has a word in a compound has it by itself, too.
_ALONE: Final = "AND word !~ '[@.''-]'"


async def find_words(
    connection: AsyncConnection, account_id: UUID, clues: Iterable[Clue]
) -> dict[Clue, list[int] | None]:
    """The ids of the words that fit each clue, the oldest (most frequent) first; None: too many."""
    found: dict[Clue, list[int] | None] = {}
    for clue in dict.fromkeys(clues):
        alone = "" if clue.among_compounds else _ALONE
        rows = await run(
            connection,
            f"SELECT id FROM search_word WHERE account_id = :account_id AND {_FIND[clue.place]} {alone} LIMIT :limit",
            account_id=account_id,
            text=clue.text,
            limit=MAX_WORDS_OF_CLUE + 1,
        )
        ids = sorted(rows.scalars())
        found[clue] = ids if len(ids) <= MAX_WORDS_OF_CLUE else None
    return found


# Sorted, so that two indexers of one account can't wait for each other.
_ADD: Final = """
WITH wanted AS (
    SELECT DISTINCT account_id, word COLLATE "C" AS word
    FROM unnest(CAST(:accounts AS uuid[]), CAST(:words AS text[])) AS t (account_id, word)
)
INSERT INTO search_word (account_id, word)
SELECT account_id, word FROM wanted w
WHERE NOT EXISTS (SELECT 1 FROM search_word s WHERE s.account_id = w.account_id AND s.word = w.word)
ORDER BY account_id, word
ON CONFLICT DO NOTHING
"""

_IDS: Final = """
SELECT s.account_id, array_agg(s.word) AS words, array_agg(s.id) AS ids
FROM unnest(CAST(:accounts AS uuid[]), CAST(:words AS text[])) AS t (account_id, word)
JOIN search_word s ON s.account_id = t.account_id AND s.word = t.word
GROUP BY s.account_id
"""


async def add_words(connection: AsyncConnection, words: Mapping[UUID, set[str]]) -> dict[UUID, dict[str, int]]:
    """Ids of the words of accounts, made where they are new."""
    accounts = [account_id for account_id, own in words.items() for _ in own]
    flat = [word for own in words.values() for word in own]
    await run(connection, _ADD, accounts=accounts, words=flat)
    rows = await run(connection, _IDS, accounts=accounts, words=flat)
    return {row.account_id: dict(zip(row.words, row.ids, strict=True)) for row in rows}
