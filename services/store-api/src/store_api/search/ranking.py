"""Ranked search: the messages found, those first in which the terms stand in the more telling places.

Each term counts 8 in the subject, 4 in From, 2 in To or Cc, 1 elsewhere; the newest of equal ones comes first. Only
what lies in rows of the index is looked at, so that many hits are ranked without reading a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec

from mail_proto.message.search_text import header_text
from mail_runtime.contracts.store import Summary
from store_api.db.engine import Database, run
from store_api.messages.listing import COLUMNS
from store_api.search.search import Hits


class Rank(NamedTuple):
    """Where a message stands in the list."""

    score: int
    internal_date: int
    email_id: UUID
    mailbox_id: UUID
    uid: int


_RANK: Final = """
WITH ranked AS (
    SELECT coalesce(h.score, s.score) AS score, m.internal_date, m.email_id, m.mailbox_id, m.uid
    FROM unnest(CAST(:mailboxes AS uuid[]), CAST(:uids AS bigint[]), CAST(:scores AS bigint[]))
         AS h (mailbox_id, uid, score)
    JOIN message m ON m.account_id = :account_id AND m.mailbox_id = h.mailbox_id AND m.uid = h.uid
    LEFT JOIN message_field f ON f.account_id = m.account_id AND f.blob_id = m.blob_id
    CROSS JOIN LATERAL (
        SELECT CAST(coalesce(sum(CASE WHEN strpos(f."subject", term) > 0 THEN 8
                                      WHEN strpos(f."from", term) > 0 THEN 4
                                      WHEN strpos(f."to", term) > 0 OR strpos(f."cc", term) > 0 THEN 2
                                      ELSE 1 END), 0) AS bigint) AS score
        FROM unnest(CAST(:terms AS text[])) AS term
    ) s
)
SELECT score, internal_date, email_id, mailbox_id, uid FROM ranked
WHERE CAST(:score AS bigint) IS NULL
   OR (score, internal_date, email_id, mailbox_id, uid) < (:score, :internal_date, :email_id, :mailbox_id, :uid)
ORDER BY score DESC, internal_date DESC, email_id DESC, mailbox_id DESC, uid DESC LIMIT :limit
"""

_UNINDEXED: Final = """
SELECT b.id, b.summary FROM unnest(CAST(:blobs AS uuid[])) AS h (blob_id) JOIN blob b ON b.id = h.blob_id
WHERE NOT EXISTS (SELECT 1 FROM message_field f WHERE f.account_id = :account_id AND f.blob_id = h.blob_id)
"""

_ROWS: Final = f"""
SELECT {COLUMNS}
FROM unnest(CAST(:mailboxes AS uuid[]), CAST(:uids AS bigint[])) WITH ORDINALITY AS h (mailbox_id, uid, n)
JOIN message m ON m.account_id = :account_id AND m.mailbox_id = h.mailbox_id AND m.uid = h.uid
JOIN blob b ON b.id = m.blob_id
ORDER BY h.n
"""


async def ranked(
    database: Database, account_id: UUID, hits: Hits, terms: Sequence[str], after: Rank | None, limit: int
) -> list[Rank]:
    """The best ones behind `after`, `limit` of them. Raises Unavailable."""
    last = (after or Rank(None, None, None, None, None))._asdict()  # type: ignore[arg-type]
    async with database.transaction() as connection:
        unindexed = await run(connection, _UNINDEXED, account_id=account_id, blobs=hits.blob_ids)
        scores = {row.id: _score(row.summary, terms) for row in unindexed}
        rows = await run(
            connection,
            _RANK,
            scores=[scores.get(blob_id) for blob_id in hits.blob_ids],
            account_id=account_id,
            mailboxes=hits.mailbox_ids,
            uids=hits.uids,
            terms=list(terms),
            limit=limit,
            **last,
        )
        return [Rank(*row) for row in rows]


def _score(summary: bytes, terms: Sequence[str]) -> int:
    """The same, of a message that isn't indexed yet."""
    kept = msgspec.msgpack.decode(summary, type=Summary)
    text = header_text(kept.header)
    subject, sender, *recipients = ("\n".join(text.values(name)) for name in ("subject", "from", "to", "cc"))
    return sum(
        8 if term in subject else 4 if term in sender else 2 if any(term in one for one in recipients) else 1
        for term in terms
    )


async def rows_of(database: Database, account_id: UUID, ranks: Sequence[Rank]) -> list[Any]:
    """Rows of `listing.COLUMNS` in the order given; those that are gone are left out. Raises Unavailable."""
    async with database.transaction() as connection:
        rows = await run(
            connection,
            _ROWS,
            account_id=account_id,
            mailboxes=[rank.mailbox_id for rank in ranks],
            uids=[rank.uid for rank in ranks],
        )
        return list(rows)
