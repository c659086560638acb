"""Who may send a delivery now: leases that fence a worker's outcomes (docs/architecture.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from mail_runtime.contracts.errors import Conflict
from mail_runtime.contracts.store import Claim, ClaimDeliveries, ClaimedDelivery
from store_api.db.engine import Database, Row

# A worker that died: the job is published again this long after its lease ran out.
GRACE_S: Final = 5.0

# Rows are locked in the order of ids. What two workers want in the same batch goes to one of them.
_CLAIM: Final = """
WITH wanted AS (
    SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:leases AS uuid[]), CAST(:leases_s AS float8[]),
                         CAST(:anyways AS boolean[])) AS w (id, lease, lease_s, anyway)
), locked AS MATERIALIZED (
    SELECT d.id FROM delivery d WHERE d.id = ANY (CAST(:ids AS uuid[])) ORDER BY d.id FOR UPDATE
), claimed AS (
    UPDATE delivery d SET
        attempts = d.attempts + CASE WHEN d.lease = wanted.lease THEN 0 ELSE 1 END,
        lease = wanted.lease,
        in_flight = true,
        lease_until = now() + make_interval(secs => wanted.lease_s),
        publish_after = now() + make_interval(secs => wanted.lease_s + :grace_s)
    FROM locked JOIN wanted USING (id)
    WHERE d.id = locked.id AND d.state = 'queued' AND d.next_attempt_at <= now()
      AND (d.lease IS NULL OR d.lease = wanted.lease OR d.lease_until < now())
      AND (wanted.anyway OR d.lease = wanted.lease
           OR NOT EXISTS (SELECT FROM down_domain r WHERE r.name = d.domain AND r.until > now()))
    RETURNING d.id, d.recipient, d.attempts, d.transmission_id, d.notify, d.orcpt, d.lease
)
SELECT c.*, t.reverse_path, t.blob_id, t.octets, t.smtputf8, t.ret, t.envid, t.tls_wish
FROM claimed c JOIN transmission t ON t.id = c.transmission_id
"""


async def claim(database: Database, wanted: ClaimDeliveries, *, anyway: bool = False) -> Claim:
    """Raises Conflict: none of the deliveries can be had. Repeating it with the same lease is harmless.

    `anyway`: though their domain rests (`queue.lanes`), for what isn't sent.
    """
    (claimed,) = await claim_all(database, [wanted], anyway=anyway)
    if isinstance(claimed, Conflict):
        raise claimed
    return claimed


async def claim_all(
    database: Database, wanted: Sequence[ClaimDeliveries], *, anyway: bool = False
) -> list[Claim | Conflict]:
    """Many claims in one statement, answered in order; as `claim`. Raises Unavailable."""
    asked = [(delivery_id, each) for each in wanted for delivery_id in each.delivery_ids]
    rows = await database.fetch(
        _CLAIM,
        ids=[delivery_id for delivery_id, _ in asked],
        leases=[each.lease for _, each in asked],
        leases_s=[float(each.lease_s) for _, each in asked],
        anyways=[anyway for _ in asked],
        grace_s=GRACE_S,
    )
    by_lease: dict[UUID, list[Row]] = {}
    for row in rows:
        by_lease.setdefault(row.lease, []).append(row)
    return [_claim(by_lease.get(each.lease, ())) for each in wanted]


def _claim(rows: Sequence[Row]) -> Claim | Conflict:
    if len({row.transmission_id for row in rows}) != 1:
        return Conflict("the deliveries are done, leased by another worker, or not due")
    transmission = rows[0]
    return Claim(
        transmission_id=transmission.transmission_id,
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
        tls_wish=transmission.tls_wish,
    )
