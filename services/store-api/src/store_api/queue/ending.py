"""Deliveries that the store itself ends, in the way of any attempt: claimed, then reported."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from uuid import UUID, uuid4

import structlog

from mail_runtime.contracts.errors import Conflict, NotFound
from mail_runtime.contracts.store import ClaimDeliveries, ClaimedDelivery, Outcome, Outcomes
from store_api.db.engine import Database
from store_api.queue.claims import claim

log = structlog.get_logger()

LEASE_S: Final = 60

Report = Callable[[Outcomes], Awaitable[None]]


async def end(
    database: Database,
    deliveries: Sequence[tuple[UUID, UUID]],
    outcome: Callable[[ClaimedDelivery], Outcome],
    report: Report,
) -> None:
    """End deliveries, given as (transmission, delivery), with the outcomes that `outcome` gives them.

    Those that a worker has at the moment are its own business. Raises Unavailable.
    """
    by_transmission: dict[UUID, list[UUID]] = {}
    for transmission_id, delivery_id in deliveries:
        by_transmission.setdefault(transmission_id, []).append(delivery_id)
    for delivery_ids in by_transmission.values():
        lease = uuid4()
        try:
            wanted = ClaimDeliveries(delivery_ids=delivery_ids, lease=lease, lease_s=LEASE_S)
            claimed = await claim(database, wanted, anyway=True)
            await report(Outcomes(lease=lease, outcomes=[outcome(each) for each in claimed.deliveries]))
        except Conflict:
            continue  # another replica, or a worker, was quicker
        except NotFound as error:
            log.error("message_of_delivery_is_gone", deliveries=[str(each) for each in delivery_ids], error=str(error))
