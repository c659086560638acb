"""The suppression list: recipients to whom a domain of ours doesn't send.

What is queued for them fails when it becomes due, with a bounce to the sender as for any other failure: nothing
disappears. Recipients whom remotes call unknown `suppress_after` times, with no success in between, are added; for a
domain that wants it (`suppress_bounced`) at the first time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import NotFound
from mail_runtime.contracts.store import ClaimedDelivery, Outcome
from store_api.db.engine import run

# RFC 3463 §3.2, RFC 7505 §4.2: bad mailbox, moved without a new address, domain without mail.
UNKNOWN_RECIPIENT: Final = frozenset({"5.1.1", "5.1.6", "5.1.10"})
MAX_REASON_LENGTH: Final = 500

# Bounces that lie further apart than this have nothing to do with each other.
COUNTED_DAYS: Final = 90

_COUNT_BOUNCED: Final = """
WITH bounced AS (
    SELECT DISTINCT ON (d.domain_id, lower(d.recipient)) d.domain_id, lower(d.recipient) AS address, d.last_reply
    FROM delivery d WHERE d.id = ANY (CAST(:ids AS uuid[])) AND d.domain_id IS NOT NULL
    ORDER BY d.domain_id, lower(d.recipient)
), counted AS (
    INSERT INTO hard_bounce AS known (domain_id, address)
    SELECT domain_id, address FROM bounced ORDER BY domain_id, address
    ON CONFLICT (domain_id, address) DO UPDATE SET
        bounces = CASE WHEN known.last_at < now() - make_interval(days => :days) THEN 1 ELSE known.bounces + 1 END,
        last_at = now()
    RETURNING domain_id, address, bounces
)
INSERT INTO suppression (domain_id, address, reason)
SELECT domain_id, address,
       left(CASE bounces WHEN 1 THEN 'bounced: ' ELSE 'bounced ' || bounces || ' times: ' END || last_reply, :length)
FROM counted JOIN bounced USING (domain_id, address) JOIN domain ON domain.id = counted.domain_id
WHERE domain.suppress_bounced OR bounces >= domain.suppress_after
ORDER BY domain_id, address
ON CONFLICT DO NOTHING
"""


async def count_bounced(connection: AsyncConnection, outcomes: Sequence[Outcome]) -> None:
    """Count those of the failed recipients who don't exist; add those whom their senders' domain has had enough of.

    A delivery that succeeds ends the count (`queue.recording`).
    """
    ids = [o.delivery_id for o in outcomes if o.result == "failed" and o.status in UNKNOWN_RECIPIENT]
    if ids:
        await run(connection, _COUNT_BOUNCED, ids=ids, days=COUNTED_DAYS, length=MAX_REASON_LENGTH)


def refusal(delivery: ClaimedDelivery) -> Outcome:
    """What becomes of a delivery to a suppressed recipient."""
    reply = "not sent: the recipient is on the suppression list"
    return Outcome(delivery_id=delivery.id, result="failed", reply=reply, status="5.7.1")


async def put(connection: AsyncConnection, domain_id: UUID, address: str, reason: str) -> bool:
    """Add or give another reason; whether it is new."""
    row = await run(
        connection,
        "INSERT INTO suppression (domain_id, address, reason) VALUES (:domain_id, :address, :reason)"
        " ON CONFLICT (domain_id, address) DO UPDATE SET reason = excluded.reason RETURNING xmax = 0",
        domain_id=domain_id,
        address=address.lower(),
        reason=reason,
    )
    return bool(row.scalar())


async def list_suppressed(connection: AsyncConnection, domain_id: UUID, after: str, limit: int) -> list[Any]:
    """Rows (address, reason, created_at) by address, after `after`."""
    return list(
        await run(
            connection,
            "SELECT address, reason, created_at FROM suppression WHERE domain_id = :domain_id AND address > :after"
            " ORDER BY address LIMIT :limit",
            domain_id=domain_id,
            after=after,
            limit=limit,
        )
    )


async def read_suppressed(connection: AsyncConnection, domain_id: UUID, address: str) -> Any:
    """One row (address, reason, created_at). Raises NotFound."""
    row = (
        await run(
            connection,
            "SELECT address, reason, created_at FROM suppression WHERE domain_id = :domain_id AND address = :address",
            domain_id=domain_id,
            address=address.lower(),
        )
    ).one_or_none()
    if row is None:
        raise NotFound(f"{address} is not on the suppression list")
    return row


async def remove(connection: AsyncConnection, domain_id: UUID, address: str) -> None:
    """Bounces are counted anew. Raises NotFound."""
    removed = await run(
        connection,
        "WITH anew AS (DELETE FROM hard_bounce WHERE domain_id = :domain_id AND address = :address)"
        " DELETE FROM suppression WHERE domain_id = :domain_id AND address = :address",
        domain_id=domain_id,
        address=address.lower(),
    )
    if not removed.rowcount:
        raise NotFound(f"{address} is not on the suppression list")
