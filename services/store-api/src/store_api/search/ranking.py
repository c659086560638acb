"""Ranked search: the messages found, those first in which the terms stand in the more telling places.

Each term counts 8 in the subject, 4 in From, 2 in To or Cc, 1 elsewhere; the newest of equal ones comes first. Only
what lies in rows of the index is looked at, so that many hits are ranked without reading a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec

from mail_proto.message.search_text import header_text
from mail_runtime.contracts.store import Summary
from mail_runtime.contracts.store import search as wire
from store_api.blobs.blobs import Blobs
from store_api.db.engine import Database, run
from store_api.messages.listing import COLUMNS
from store_api.search.search import Statement, find


class Rank(NamedTuple):
    """Where a message stands in the list."""

    score: int
    internal_date: int
    email_id: UUID
    mailbox_id: UUID
    uid: int


@dataclass(frozen=True, slots=True)
class Ranked:
    """The best ones behind the last page, in their order; `total`: how many there are on all pages."""

    total: int
    best: list[Rank]


# Of more hits than this the fields of the whole account are read in one go, else those of each hit.
MANY: Final = 2_000

# Only what is shown leaves the database: of 100,000 hits to Python and back took 500 ms of CPU. `told`: those that have
# more than the least score. Of its halves Postgres executes the one whose condition is true.
_BEST: Final = """
WITH hit AS MATERIALIZED (
    SELECT m.blob_id, m.internal_date, m.email_id, m.mailbox_id, m.uid FROM {{messages}} WHERE {{where}}
), told AS MATERIALIZED (
    SELECT blob_id, score FROM (
        SELECT f.blob_id, {score} AS score FROM message_field f
        WHERE f.account_id = :account_id AND (SELECT count(*) > :many FROM hit) OFFSET 0
    ) AS f WHERE score > :least
    UNION ALL
    SELECT h.blob_id, f.score FROM (
        SELECT DISTINCT blob_id FROM hit WHERE (SELECT count(*) <= :many FROM hit)
    ) AS h CROSS JOIN LATERAL (
        SELECT {score} AS score FROM message_field f
        WHERE f.account_id = :account_id AND f.blob_id = h.blob_id OFFSET 0
    ) AS f WHERE f.score > :least
), ranked AS (
    SELECT coalesce(t.score, :least) AS score, internal_date, email_id, mailbox_id, uid
    FROM hit LEFT JOIN told t ON t.blob_id = hit.blob_id
)
SELECT (SELECT count(*) FROM hit), array_agg(score), array_agg(internal_date), array_agg(email_id),
       array_agg(mailbox_id), array_agg(uid)
FROM (SELECT * FROM ranked
      WHERE CAST(:score AS bigint) IS NULL
         OR (score, internal_date, email_id, mailbox_id, uid) < (:score, :internal_date, :email_id, :mailbox, :uid)
      ORDER BY score DESC, internal_date DESC, email_id DESC, mailbox_id DESC, uid DESC LIMIT :limit) AS best
"""
_SCORE: Final = """CASE WHEN strpos(f."subject", :{term}) > 0 THEN 8 WHEN strpos(f."from", :{term}) > 0 THEN 4
WHEN strpos(f."to", :{term}) > 0 OR strpos(f."cc", :{term}) > 0 THEN 2 ELSE 1 END"""

_ROWS: Final = f"""
SELECT {COLUMNS}
FROM unnest(CAST(:mailboxes AS uuid[]), CAST(:uids AS bigint[])) WITH ORDINALITY AS h (mailbox_id, uid, n)
JOIN message m ON m.account_id = :account_id AND m.mailbox_id = h.mailbox_id AND m.uid = h.uid
JOIN blob b ON b.id = m.blob_id
ORDER BY h.n
"""


async def ranked(
    database: Database,
    blobs: Blobs,
    account_id: UUID,
    mailbox_id: UUID | None,
    wanted: tuple[wire.SearchKey, Sequence[str]],
    after: Rank | None,
    limit: int,
) -> Ranked:
    """`wanted`: what is looked for, and the terms that count. Raises as `search.find_uids` does."""
    key, terms = wanted
    named = {f"term{number}": term for number, term in enumerate(terms)}
    score = " + ".join(_SCORE.format(term=name) for name in named) or "0"
    last = (after or Rank(None, None, None, None, None))._asdict()  # type: ignore[arg-type]
    values = {**named, **last, "mailbox": last["mailbox_id"], "least": len(named), "many": MANY, "limit": limit}
    del values["mailbox_id"]  # that of the search
    statement = Statement(_BEST.format(score=score), values)
    (total, *columns), others = await find(database, blobs, account_id, mailbox_id, key, statement)
    best = [Rank(*row) for row in zip(*columns, strict=True)] if columns[0] else []
    best += [rank for rank in await _ranks(database, others, terms) if after is None or rank < after]
    return Ranked(total + len(others), sorted(best, reverse=True)[:limit])


async def _ranks(database: Database, rows: Sequence[Any], terms: Sequence[str]) -> list[Rank]:
    """The same of messages that aren't indexed yet."""
    if not rows:
        return []
    async with database.transaction() as connection:
        kept = await run(
            connection,
            "SELECT id, summary FROM blob WHERE id = ANY (CAST(:blobs AS uuid[]))",
            blobs=list({row.blob_id for row in rows}),
        )
        scores = {blob.id: _score(blob.summary, terms) for blob in kept}
    return [
        Rank(scores[row.blob_id], row.internal_date, row.email_id, row.mailbox_id, row.uid)
        for row in rows
        if row.blob_id in scores
    ]


def _score(summary: bytes, terms: Sequence[str]) -> int:
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
