"""Which messages aren't indexed yet: looked for above the uid up to which all of a mailbox's are known to be.

Messages get higher and higher uids, and what is indexed stays so: hence a mailbox is looked through once, not at each
search (which took 75 ms for 100,000 messages). Only an import brings lower uids: it calls `forget`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from store_api.db.engine import run

# Ours: messages that a search looks at in vain, lest each one writes.
STEP: Final = 1_000

# The scalar subquery stays a look at the primary key for each message; as a join, the few above would be estimated as a
# third of the mailbox, and the whole index read for them.
_LOOK: Final = """
SELECT b.id AS mailbox_id, coalesce(k.uid, 0) AS known, k.epoch, l.first, l.last
FROM mailbox b LEFT JOIN indexed_mailbox k ON k.account_id = b.account_id AND k.mailbox_id = b.id
CROSS JOIN LATERAL (
    SELECT max(m.uid) AS last, min(m.uid) FILTER (WHERE (
        SELECT t.blob_id FROM message_text t WHERE t.account_id = m.account_id AND t.blob_id = m.blob_id) IS NULL
    ) AS first
    FROM message m WHERE m.account_id = b.account_id AND m.mailbox_id = b.id AND m.uid > coalesce(k.uid, 0)
) AS l
WHERE b.account_id = :account_id AND (CAST(:mailbox_id AS uuid) IS NULL OR b.id = :mailbox_id)
ORDER BY b.id
"""

_BEGIN: Final = """
INSERT INTO indexed_mailbox (account_id, mailbox_id, uid) VALUES (:account_id, :mailbox_id, :uid)
ON CONFLICT DO NOTHING
"""

_GO_ON: Final = """
UPDATE indexed_mailbox SET uid = :uid
WHERE account_id = :account_id AND mailbox_id = :mailbox_id AND epoch = :epoch AND uid < :uid
"""

_FORGET: Final = """
INSERT INTO indexed_mailbox AS k (account_id, mailbox_id, uid)
SELECT account_id, mailbox_id, 0
FROM unnest(CAST(:accounts AS uuid[]), CAST(:mailboxes AS uuid[])) AS t (account_id, mailbox_id)
ORDER BY account_id, mailbox_id
ON CONFLICT (account_id, mailbox_id) DO UPDATE SET uid = 0, epoch = k.epoch + 1
"""


@dataclass(frozen=True, slots=True)
class Coverage:
    """Of some mailboxes. `gaps`: the lowest uid that isn't indexed, where there is one; `news`: for `remember`."""

    gaps: dict[UUID, int]
    news: list[dict[str, Any]]


async def look(connection: AsyncConnection, account_id: UUID, mailbox_id: UUID | None) -> Coverage:
    """At a mailbox, or at the whole account."""
    coverage = Coverage({}, [])
    for row in (await run(connection, _LOOK, account_id=account_id, mailbox_id=mailbox_id)).all():
        if row.first is not None:
            coverage.gaps[row.mailbox_id] = row.first
        reached = row.last if row.first is None else row.first - 1
        if reached is not None and reached - row.known >= STEP:
            coverage.news.append({"mailbox_id": row.mailbox_id, "uid": reached, "epoch": row.epoch})
    return coverage


async def remember(connection: AsyncConnection, account_id: UUID, coverage: Coverage) -> None:
    """In a transaction of its own, so that no search waits for another."""
    for new in coverage.news:
        if new["epoch"] is None:
            await run(connection, _BEGIN, account_id=account_id, mailbox_id=new["mailbox_id"], uid=new["uid"])
        else:
            await run(connection, _GO_ON, account_id=account_id, **new)


async def forget(connection: AsyncConnection, mailboxes: Iterable[tuple[UUID, UUID]]) -> None:
    """In the transaction that put messages between others: nothing is known of these (account, mailbox) any more."""
    wanted = list(mailboxes)
    accounts, ids = [account for account, _ in wanted], [mailbox for _, mailbox in wanted]
    await run(connection, _FORGET, accounts=accounts, mailboxes=ids)
