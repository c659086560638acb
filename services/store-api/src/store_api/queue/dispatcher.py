"""Publishing due deliveries to JetStream. Postgres is the record: what gets lost on the way is published again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec
import nats.errors
import structlog
from nats.js import JetStreamContext
from nats.js.api import RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import Error as JetStreamError

from mail_runtime import tracing
from mail_runtime.bus import Bus, BusUnavailable
from mail_runtime.contracts.errors import Unavailable
from mail_runtime.contracts.store import Outcomes, RelayJob
from mail_runtime.contracts.subjects import RELAY_LANE, RELAY_STREAM, RELAY_SUBJECTS
from store_api.db.engine import Database
from store_api.queue import lanes
from store_api.queue.ending import end
from store_api.queue.suppression import refusal

log = structlog.get_logger()

POLL_S: Final = 1.0
# A round costs the same for one delivery as for a hundred.
ROUND_S: Final = 0.05
BATCH: Final = 500
# A published job that nobody claimed is published again after this time.
REPUBLISH_S: Final = 600.0
DUPLICATE_WINDOW_S: Final = 120.0
PUBLISH_TIMEOUT_S: Final = 5.0

_encode = msgspec.msgpack.Encoder().encode


class Job(NamedTuple):
    """What deliveries have in common that are published together."""

    transmission_id: UUID
    domain: str
    sender_domain: str
    attempts: int
    published: int
    traceparent: str | None


class Dispatcher:
    """One per process; any number of processes share the work (SKIP LOCKED)."""

    def __init__(self, database: Database, bus: Bus, window: int) -> None:
        self._database, self._bus, self._window = database, bus, window
        self._after = ""
        self._look_for_lost_at = 0.0
        self._due = asyncio.Event()
        # How outcomes are reported; the store sets it.
        self.report: Callable[[Outcomes], Awaitable[None]] | None = None

    def wake(self) -> None:
        """Deliveries were queued just now."""
        self._due.set()

    async def run(self) -> None:
        """Publish until cancelled; whatever is down is tried again."""
        prepared: JetStreamContext | None = None
        loop = asyncio.get_running_loop()
        while True:
            self._due.clear()
            started, found = loop.time(), 0
            try:
                if prepared is None:
                    prepared = await self._prepare()
                found = await self._publish_due(prepared)
            except (
                BusUnavailable,
                JetStreamError,
                nats.errors.Error,
                Unavailable,
                OSError,
                TimeoutError,
            ) as error:
                prepared, self._after = None, ""
                log.info("dispatch_waits", error=repr(error))
            if found < BATCH and not self._after:
                await self._pause(started + ROUND_S, idle=not found)

    async def _pause(self, until: float, *, idle: bool) -> None:
        """Until there may be something; what comes at short intervals goes together."""
        if idle:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._due.wait()
        await asyncio.sleep(until - asyncio.get_running_loop().time())

    async def _prepare(self) -> JetStreamContext:
        jetstream = self._bus.jetstream()
        await jetstream.add_stream(
            StreamConfig(
                name=RELAY_STREAM,
                subjects=[RELAY_SUBJECTS],
                retention=RetentionPolicy.WORK_QUEUE,
                storage=StorageType.FILE,
                duplicate_window=DUPLICATE_WINDOW_S,
            )
        )
        return jetstream

    async def _publish_due(self, jetstream: JetStreamContext) -> int:
        """Publish one round; returns how many deliveries it had.

        The rows stay locked while their jobs are published. A crash in between publishes again, with the
        same Nats-Msg-Id, and the claim fences what slips through.
        """
        async with self._database.transaction() as connection:
            if time.monotonic() > self._look_for_lost_at:
                await lanes.lost(connection)
                self._look_for_lost_at = time.monotonic() + POLL_S
            due, self._after = await lanes.due(connection, self._window, BATCH, self._after)
            if due:
                await self._publish(jetstream, [row for row in due if not row.suppressed])
                await lanes.published(connection, due, REPUBLISH_S)
        suppressed = [(row.transmission_id, row.id) for row in due if row.suppressed]
        if suppressed and self.report is not None:
            await end(self._database, suppressed, refusal, self.report)
        return len(due)

    async def _publish(self, jetstream: JetStreamContext, due: Sequence[Any]) -> None:
        jobs: dict[Job, list[UUID]] = {}
        for row in due:
            job = Job(row.transmission_id, row.domain, row.sender_domain, row.attempts, row.published, row.traceparent)
            jobs.setdefault(job, []).append(row.id)
        published = await asyncio.gather(
            *(self._publish_job(jetstream, job, ids) for job, ids in jobs.items()), return_exceptions=True
        )
        for result in published:
            if isinstance(result, BaseException):
                raise result

    async def _publish_job(self, jetstream: JetStreamContext, job: Job, delivery_ids: list[UUID]) -> None:
        payload = _encode(
            RelayJob(
                transmission_id=job.transmission_id,
                domain=job.domain,
                sender_domain=job.sender_domain,
                delivery_ids=delivery_ids,
            )
        )
        headers = {"Nats-Msg-Id": f"{min(delivery_ids)}:{job.attempts}:{job.published}"}
        if job.traceparent:
            headers[tracing.HEADER] = job.traceparent
        await jetstream.publish(RELAY_LANE, payload, timeout=PUBLISH_TIMEOUT_S, headers=headers)
