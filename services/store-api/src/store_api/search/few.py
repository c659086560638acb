"""Searching a mailbox of few messages: one statement that looks at each, with a plan that Postgres keeps.

What an index saves there is less than what asking it takes: it was nine statements, planned anew each time.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from mail_runtime.contracts.errors import NotFound
from mail_runtime.contracts.store import search as wire
from store_api.db.engine import Database
from store_api.search.compile import Compiler, needs_index
from store_api.search.texts import Texts

# Messages that are looked at rather than looked up: of fields alone, and with texts.
FEW: Final = 1_000
FEW_TEXTS: Final = 300

# OFFSET 0 keeps it a look at the primary key for each message, whatever the planner believes of other accounts'.
_FIELDS: Final = """LEFT JOIN LATERAL (
    SELECT f.* FROM message_field f WHERE f.account_id = m.account_id AND f.blob_id = m.blob_id OFFSET 0
) AS f ON TRUE"""

# Of a larger mailbox no message is looked at. OFFSET 0: each is looked at once, not for each of the aggregates.
_LOOK: Final = """
SELECT b.messages <= :few AND l.unindexed = 0 AS is_whole, l.uids, l.modseq
FROM mailbox b CROSS JOIN LATERAL (
    SELECT array_agg(o.uid ORDER BY o.uid) FILTER (WHERE o.is_meant) AS uids,
           max(o.modseq) FILTER (WHERE o.is_meant) AS modseq,
           count(*) FILTER (WHERE o.is_unindexed) AS unindexed
    FROM (
        SELECT m.uid, m.modseq, {where} AS is_meant, {unindexed} AS is_unindexed
        FROM message m {fields}
        WHERE m.account_id = b.account_id AND m.mailbox_id = b.id AND b.messages <= :few
        OFFSET 0
    ) AS o
) AS l
WHERE b.account_id = :account_id AND b.id = :mailbox_id
"""


async def find_among_few(
    database: Database, account_id: UUID, mailbox_id: UUID, key: wire.SearchKey, now: int
) -> tuple[list[int], int] | None:
    """(uids, ascending; the highest modseq among them, 0 for none); None: there are many, or some aren't indexed.

    Raises NotFound: the mailbox. Unavailable.
    """
    compiler = Compiler(Texts, now)
    where = compiler.whole(key)
    is_about_contents = needs_index(key)
    statement = _LOOK.format(
        where=where,
        fields=_FIELDS if is_about_contents else "",
        unindexed="f.blob_id IS NULL" if is_about_contents else "FALSE",
    )
    values = {**compiler.values, "account_id": account_id, "mailbox_id": mailbox_id}
    rows = await database.fetch(statement, **values, few=FEW_TEXTS if compiler.uses_texts else FEW)
    if not rows:
        raise NotFound("there is no such mailbox")
    [(is_whole, uids, modseq)] = rows
    return (uids or [], modseq or 0) if is_whole else None
