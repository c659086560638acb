"""Deliveries that take long: their senders are told once, and at last that it was given up (RFC 5321 §4.5.4.1).

Both go by the clock, not by attempts: a delivery whose domain is down may not be tried for hours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import Conflict, NotFound, Unavailable
from mail_runtime.contracts.store import ClaimedDelivery, Outcome
from store_api.blobs.blobs import Blobs
from store_api.db.engine import Database
from store_api.db.engine import run as execute
from store_api.ingest.incoming import Group, Stored
from store_api.ingest.own import store_own
from store_api.ingest.planning import Rules
from store_api.queue.ending import Report, end
from store_api.queue.notifying import delayed_report, notification

log = structlog.get_logger()

EVERY_S: Final = 5.0
BATCH: Final = 500

_DELAYED: Final = """
SELECT d.id, d.recipient, d.orcpt, d.expires_at, d.last_reply, d.last_status, d.last_remote,
       t.id AS transmission_id, t.reverse_path, t.ret, t.envid, t.created_at, t.traceparent, t.tls_wish
FROM delivery d JOIN transmission t ON t.id = d.transmission_id
WHERE d.state = 'queued' AND d.delay_at <= now() AND d.expires_at > now() ORDER BY d.delay_at LIMIT :batch
"""

_TOLD: Final = """
UPDATE delivery SET delay_at = NULL
WHERE id IN (SELECT id FROM delivery WHERE id = ANY (CAST(:ids AS uuid[])) ORDER BY id FOR UPDATE)
  AND state = 'queued' AND delay_at IS NOT NULL
RETURNING id
"""

_EXPIRED: Final = """
SELECT d.id, d.transmission_id, d.last_reply FROM delivery d
WHERE d.state = 'queued' AND d.expires_at <= now() AND d.next_attempt_at <= now()
  AND (d.lease IS NULL OR d.lease_until < now())
ORDER BY d.expires_at LIMIT :batch
"""


async def tell_delays(database: Database, blobs: Blobs, rules: Rules) -> list[tuple[Group, list[Stored]]]:
    """Tell senders of one batch of delayed deliveries; returns what the notifications came to. Raises Unavailable."""
    async with database.transaction() as connection:
        rows = (await execute(connection, _DELAYED, batch=BATCH)).all()
    by_transmission: dict[UUID, list[Any]] = {}
    for row in rows:
        by_transmission.setdefault(row.transmission_id, []).append(row)
    done = []
    for together in by_transmission.values():
        try:
            done.append(await _tell(database, blobs, rules, together))
        except Conflict:
            continue  # another replica told it, or an attempt ended one of them: the rest has its turn next time
        except NotFound as error:
            log.error("message_of_delivery_is_gone", transmission_id=str(together[0].transmission_id), error=str(error))
    return done


async def _tell(database: Database, blobs: Blobs, rules: Rules, rows: list[Any]) -> tuple[Group, list[Stored]]:
    """Raises Conflict: one of the deliveries has been told of, or waits no more."""

    async def work(connection: AsyncConnection) -> None:
        told_now = await execute(connection, _TOLD, ids=[row.id for row in rows])
        if len(told_now.all()) != len(rows):
            raise Conflict("the deliveries have changed")

    told = await notification(database, blobs, rules, rows[0], [delayed_report(row) for row in rows])
    return await store_own(database, blobs, rules, told, work)


async def expire(database: Database, report: Report) -> None:
    """End a batch of deliveries whose time is over. Raises Unavailable."""
    async with database.transaction() as connection:
        rows = (await execute(connection, _EXPIRED, batch=BATCH)).all()
    last = {row.id: row.last_reply for row in rows}

    def outcome(delivery: ClaimedDelivery) -> Outcome:
        said = f"; the last answer was: {last[delivery.id]}" if last[delivery.id] else ""
        return Outcome(delivery_id=delivery.id, result="failed", reply=f"gave up{said}", status="4.4.7")

    await end(database, [(row.transmission_id, row.id) for row in rows], outcome, report)


async def run(work: Callable[[], Awaitable[None]]) -> None:
    """Do `work` again and again, until cancelled."""
    while True:
        try:
            await work()
        except Unavailable as error:
            log.info("overdue_waits", error=str(error))
        await asyncio.sleep(EVERY_S)
