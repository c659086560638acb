"""From the outbox to the stream `EVENTS`; on the way each event is counted and handed to the webhooks that want it.

A row stays until its event is acknowledged by the stream, so an outage of NATS only delays. A crash between the
acknowledgement and the commit publishes again, with the same `Nats-Msg-Id`, which the stream drops within its window.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import nats.errors
import structlog
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import Error as JetStreamError

from mail_runtime.bus import Bus, BusUnavailable
from mail_runtime.contracts.errors import Unavailable
from mail_runtime.contracts.events import (
    CLOUDEVENT_TYPE,
    EVENTS_STREAM,
    EVENTS_SUBJECTS,
    CloudEvent,
    event_subject,
)
from store_api.db.engine import Database, fetch

log = structlog.get_logger()

# One look at an empty outbox costs Postgres 0.1 ms.
POLL_S: Final = 0.2
BATCH: Final = 500
PUBLISH_TIMEOUT_S: Final = 5.0
DUPLICATE_WINDOW_S: Final = 120.0
KEPT_S: Final = 7 * 86_400.0
KEPT_OCTETS: Final = 1 << 30
# nats-server refuses more than 1 MiB; what is larger is a mistake of ours and mustn't stop the others.
MAX_CONTENT_OCTETS: Final = 262_144

_WAITING: Final = """
SELECT number, id, type, domain_id, account_id, content::text AS content, created_at FROM event
ORDER BY number LIMIT :batch FOR UPDATE SKIP LOCKED
"""

# Rows of `statistic` are touched in one order, so that replicas can't wait for each other. What belongs to no domain
# is counted for the nil UUID.
_PUBLISHED: Final = """
WITH gone AS (
    DELETE FROM event WHERE number = ANY (CAST(:numbers AS bigint[]))
    RETURNING id, type, domain_id, account_id, content, created_at
), wanted AS (
    INSERT INTO webhook_delivery (webhook_id, event_id, body)
    SELECT w.id, gone.id, b.body
    FROM gone
    JOIN unnest(CAST(:ids AS uuid[]), CAST(:bodies AS bytea[])) AS b (id, body) ON b.id = gone.id
    JOIN webhook w ON w.active
        AND CASE WHEN w.account_id IS NOT NULL THEN w.account_id = gone.account_id
                 WHEN w.domain_id IS NOT NULL THEN w.domain_id = gone.domain_id ELSE true END
        AND (w.types = '{}' OR gone.type = ANY (w.types) OR split_part(gone.type, '.', 1) || '.*' = ANY (w.types))
    ON CONFLICT DO NOTHING
)
INSERT INTO statistic (domain_id, day, type, events, octets)
SELECT coalesce(domain_id, CAST('00000000-0000-0000-0000-000000000000' AS uuid)),
       CAST(created_at AT TIME ZONE 'UTC' AS date), type, count(*),
       coalesce(sum(CASE WHEN jsonb_typeof(content -> 'octets') = 'number'
                         THEN CAST(content ->> 'octets' AS numeric) END), 0)
FROM gone GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
ON CONFLICT (domain_id, day, type)
    DO UPDATE SET events = statistic.events + excluded.events, octets = statistic.octets + excluded.octets
"""

_encode = msgspec.json.Encoder().encode


class Publisher:
    """One per process; any number of processes share the work (SKIP LOCKED). `source` names this store."""

    def __init__(self, database: Database, bus: Bus, source: str) -> None:
        self._database, self.bus, self.source = database, bus, source

    async def run(self) -> None:
        """Publish until cancelled; whatever is down is tried again."""
        prepared: JetStreamContext | None = None
        while True:
            try:
                if prepared is None:
                    prepared = await prepare_stream(self.bus)
                while await self.publish_waiting(prepared) == BATCH:
                    pass
            except (BusUnavailable, JetStreamError, nats.errors.Error, Unavailable, OSError, TimeoutError) as error:
                prepared = None
                log.info("events_wait", error=repr(error))
                await asyncio.sleep(1.0)
            await asyncio.sleep(POLL_S)

    async def publish_waiting(self, jetstream: JetStreamContext) -> int:
        """Publish one batch, oldest first; returns how many events it had."""
        async with self._database.transaction() as connection:
            rows = await fetch(connection, _WAITING, batch=BATCH)
            if not rows:
                return 0
            bodies = [self._cloud_event(row) for row in rows]
            await self._publish(jetstream, rows, bodies)
            numbers, ids = [row.number for row in rows], [row.id for row in rows]
            await fetch(connection, _PUBLISHED, numbers=numbers, ids=ids, bodies=bodies)
        return len(rows)

    async def _publish(self, jetstream: JetStreamContext, rows: Sequence[Any], bodies: Sequence[bytes]) -> None:
        published = await asyncio.gather(
            *(
                jetstream.publish(
                    event_subject(row.type),
                    body,
                    timeout=PUBLISH_TIMEOUT_S,
                    headers={"Nats-Msg-Id": str(row.id), "Content-Type": CLOUDEVENT_TYPE},
                )
                for row, body in zip(rows, bodies, strict=True)
            ),
            return_exceptions=True,
        )
        for result in published:
            if isinstance(result, BaseException):
                raise result

    def _cloud_event(self, row: Any) -> bytes:
        content = row.content.encode()
        if len(content) > MAX_CONTENT_OCTETS:
            log.error("event_too_large", event_id=str(row.id), type=row.type, octets=len(content))
            content = b'{"truncated":true}'
        return _encode(
            CloudEvent(
                id=row.id,
                source=self.source,
                type=row.type,
                time=row.created_at,
                data=msgspec.Raw(content),
                domainid=msgspec.UNSET if row.domain_id is None else row.domain_id,
                accountid=msgspec.UNSET if row.account_id is None else row.account_id,
            )
        )


async def prepare_stream(bus: Bus) -> JetStreamContext:
    """Make the stream when it is missing. Raises BusUnavailable, JetStreamError, TimeoutError."""
    jetstream = bus.jetstream()
    await jetstream.add_stream(
        StreamConfig(
            name=EVENTS_STREAM,
            subjects=[EVENTS_SUBJECTS],
            retention=RetentionPolicy.LIMITS,
            discard=DiscardPolicy.OLD,
            storage=StorageType.FILE,
            duplicate_window=DUPLICATE_WINDOW_S,
            max_age=KEPT_S,
            max_bytes=KEPT_OCTETS,
        )
    )
    return jetstream
