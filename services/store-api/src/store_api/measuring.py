"""What waits in the store, for Prometheus: looked up now and then, by each replica for itself.

All replicas see the same queue: take the greatest of them, never their sum.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import nats.errors
import structlog
from nats.js.errors import Error as JetStreamError
from nats.js.errors import NotFoundError
from prometheus_client import Gauge

from mail_runtime.bus import Bus, BusUnavailable
from mail_runtime.contracts.errors import Unavailable
from mail_runtime.contracts.events import EVENTS_STREAM
from mail_runtime.contracts.subjects import RELAY_CONSUMER, RELAY_STREAM
from store_api.db.engine import Database, run
from store_api.search.indexer import CONSUMER as INDEXER

log = structlog.get_logger()

EVERY_S: Final = 15.0
# Counting stops there: what it costs stays bounded, and more than that is not read differently.
MAX_COUNTED: Final = 100_000

DELIVERIES: Final = Gauge(
    "postroom_queue_deliveries",
    "Deliveries that wait, up to 100,000",
    ["state"],
    multiprocess_mode="livemax",
)
DUE: Final = Gauge("postroom_queue_due", "Deliveries that could be sent now, and are not", multiprocess_mode="livemax")
OLDEST_DUE: Final = Gauge(
    "postroom_queue_oldest_due_seconds",
    "How long the first of those that are due has been waiting for a relay",
    multiprocess_mode="livemax",
)
EVENTS: Final = Gauge("postroom_events_waiting", "Events that NATS doesn't have yet", multiprocess_mode="livemax")
OLDEST_EVENT: Final = Gauge(
    "postroom_events_oldest_seconds", "How long the first of these has been waiting", multiprocess_mode="livemax"
)
WEBHOOKS: Final = Gauge(
    "postroom_webhook_deliveries_waiting", "Calls of webhooks that wait", multiprocess_mode="livemax"
)
JOBS: Final = Gauge(
    "postroom_relay_jobs", "Jobs in JetStream, by whether a relay has them", ["state"], multiprocess_mode="livemax"
)
LAG: Final = Gauge(
    "postroom_jetstream_lag",
    "Messages that a consumer of JetStream hasn't done with: relay jobs, events that search waits for",
    ["stream", "consumer"],
    multiprocess_mode="livemax",
)
CONSUMERS: Final = ((RELAY_STREAM, RELAY_CONSUMER), (EVENTS_STREAM, INDEXER))

# `next_attempt_at`, not `publish_after`: that a job was published doesn't mean that anyone works on it.
_WAITING: Final = """
WITH waiting AS (SELECT state, next_attempt_at, lease_until FROM delivery
                 WHERE state IN ('queued', 'held') LIMIT :limit),
     due AS (SELECT next_attempt_at FROM waiting
             WHERE state = 'queued' AND next_attempt_at <= now() AND (lease_until IS NULL OR lease_until < now()))
SELECT (SELECT count(*) FROM waiting WHERE state = 'queued') AS queued,
       (SELECT count(*) FROM waiting WHERE state = 'held') AS held,
       (SELECT count(*) FROM due) AS due,
       (SELECT coalesce(extract(epoch FROM now() - min(next_attempt_at)), 0) FROM due) AS oldest_due_s,
       (SELECT count(*) FROM (SELECT FROM event LIMIT :limit) e) AS events,
       (SELECT coalesce(extract(epoch FROM now() - min(created_at)), 0) FROM event) AS oldest_event_s,
       (SELECT count(*) FROM (SELECT FROM webhook_delivery WHERE state = 'waiting' LIMIT :limit) w) AS webhooks
"""


async def measure(database: Database) -> None:
    """Set the gauges of what Postgres has. Raises Unavailable."""
    async with database.transaction() as connection:
        row = (await run(connection, _WAITING, limit=MAX_COUNTED)).one()
    DELIVERIES.labels("queued").set(row.queued)
    DELIVERIES.labels("held").set(row.held)
    DUE.set(row.due)
    OLDEST_DUE.set(float(row.oldest_due_s))
    EVENTS.set(row.events)
    OLDEST_EVENT.set(float(row.oldest_event_s))
    WEBHOOKS.set(row.webhooks)


async def measure_jobs(bus: Bus) -> None:
    """Set the gauges of what JetStream has. Raises BusUnavailable, JetStreamError, nats.errors.Error."""
    jetstream = bus.jetstream()
    for stream, consumer in CONSUMERS:
        with contextlib.suppress(NotFoundError):  # it has never run
            info = await jetstream.consumer_info(stream, consumer)
            waiting, under_way = info.num_pending or 0, info.num_ack_pending or 0
            LAG.labels(stream, consumer).set(waiting + under_way)
            if stream == RELAY_STREAM:
                JOBS.labels("waiting").set(waiting)
                JOBS.labels("under_way").set(under_way)


async def keep_measuring(database: Database, bus: Bus) -> None:
    """Again and again, until cancelled. What can't be had now keeps its last value."""
    while True:
        try:
            await measure(database)
            await measure_jobs(bus)
        except (Unavailable, BusUnavailable, JetStreamError, nats.errors.Error, OSError, TimeoutError) as error:
            log.debug("measuring_waits", error=repr(error))
        await asyncio.sleep(EVERY_S)
