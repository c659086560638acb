"""Who may send a delivery now: leases that fence a worker's outcomes (docs/architecture.md)."""

from __future__ import annotations

from typing import Final

from mail_runtime.contracts.errors import Conflict
from mail_runtime.contracts.store import Claim, ClaimDeliveries, ClaimedDelivery
from store_api.db.engine import Database, run

# A worker that died: the job is published again this long after its lease ran out.
GRACE_S: Final = 5.0

_CLAIM: Final = """
UPDATE delivery SET
    attempts = attempts + CASE WHEN lease = :lease THEN 0 ELSE 1 END,
    lease = :lease,
    in_flight = true,
    lease_until = now() + make_interval(secs => :lease_s),
    publish_after = now() + make_interval(secs => :lease_s + :grace_s)
WHERE id IN (SELECT id FROM delivery WHERE id = ANY (CAST(:ids AS uuid[])) ORDER BY id FOR UPDATE)
  AND state = 'queued' AND next_attempt_at <= now()
  AND (lease IS NULL OR lease = :lease OR lease_until < now())
  AND (:anyway OR lease = :lease
       OR NOT EXISTS (SELECT FROM down_domain r WHERE r.name = delivery.domain AND r.until > now()))
RETURNING id, recipient, attempts, transmission_id, notify, orcpt
"""


async def claim(database: Database, wanted: ClaimDeliveries, *, anyway: bool = False) -> Claim:
    """Raises Conflict: none of the deliveries can be had. Repeating it with the same lease is harmless.

    `anyway`: though their domain rests (`queue.lanes`), for what isn't sent.
    """
    async with database.transaction() as connection:
        rows = (
            await run(
                connection,
                _CLAIM,
                ids=wanted.delivery_ids,
                lease=wanted.lease,
                lease_s=float(wanted.lease_s),
                grace_s=GRACE_S,
                anyway=anyway,
            )
        ).all()
        if len({row.transmission_id for row in rows}) != 1:
            raise Conflict("the deliveries are done, leased by another worker, or not due")
        transmission = (
            await run(
                connection,
                "SELECT id, reverse_path, blob_id, octets, smtputf8, ret, envid FROM transmission WHERE id = :id",
                id=rows[0].transmission_id,
            )
        ).one()
    return Claim(
        transmission_id=transmission.id,
        reverse_path=transmission.reverse_path,
        blob_id=transmission.blob_id,
        octets=transmission.octets,
        smtputf8=transmission.smtputf8,
        deliveries=[
            ClaimedDelivery(
                id=row.id, recipient=row.recipient, attempts=row.attempts, notify=row.notify, orcpt=row.orcpt
            )
            for row in rows
        ],
        ret=transmission.ret,
        envid=transmission.envid,
    )
