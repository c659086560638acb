"""Jobs from JetStream to the worker: bounded, pulled only when there is room, for ever."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import structlog
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import NotFoundError

from mail_runtime import tracing
from mail_runtime.bus import Bus, BusUnavailable, Msg
from mail_runtime.contracts.subjects import RELAY_CONSUMER, RELAY_LANE, RELAY_STREAM
from smtp_out.pulls import Pulls
from smtp_out.worker import ACK_WAIT_S, Worker

log = structlog.get_logger()

# Also how long a stop may wait for the pulls that are under way.
FETCH_WAIT_S: Final = 1.0
RETRY_S: Final = 1.0
# Deliveries that run may finish; the process ends within 10 s of SIGTERM.
STOP_GRACE_S: Final = 6.0
INTERRUPT_S: Final = 2.0
ACK_PENDING_LIMIT: Final = 10_000


class Consumer:
    """One per process; several processes share one durable consumer."""

    def __init__(self, bus: Bus, worker: Worker, concurrency: int) -> None:
        self._bus, self._worker, self._concurrency = bus, worker, concurrency
        self._jobs: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        # One request for many jobs; but what is there to do mustn't wait for the last of those that run.
        self._least_room = max(1, concurrency // 4)

    async def run(self, stopping: asyncio.Event) -> None:
        """Pull and handle until `stopping` is set, then finish what runs, within STOP_GRACE_S."""
        waker = asyncio.create_task(self._wake_at(stopping), name="consumer-stop")
        try:
            await self._consume(stopping)
        finally:
            waker.cancel()
        await self._finish()

    async def _consume(self, stopping: asyncio.Event) -> None:
        pulls: Pulls | None = None
        while not stopping.is_set():
            try:
                if pulls is None:
                    await self._prepare()
                    pulls = await Pulls.begin(self._bus, self._start, self._changed.set)
                    log.info("consuming", stream=RELAY_STREAM)
                await self._pull(pulls)
            except (BusUnavailable, NatsError, OSError, TimeoutError) as error:
                # The stream isn't there before the store has been: nothing to complain about.
                if not isinstance(error, (BusUnavailable, NotFoundError)):
                    log.info("consumer_waits", error=repr(error))
                await _dropped(pulls)
                pulls = None
                await _pause(stopping, RETRY_S)
        if pulls is not None:
            await self._settle(pulls)

    async def _wake_at(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self._changed.set()

    async def _prepare(self) -> None:
        """See that there is a durable consumer. Raises BusUnavailable, NatsError: there is no stream yet."""
        jetstream = self._bus.jetstream()
        try:
            await jetstream.consumer_info(RELAY_STREAM, RELAY_CONSUMER)
        except NotFoundError:
            await jetstream.add_consumer(
                RELAY_STREAM,
                ConsumerConfig(
                    name=RELAY_CONSUMER,
                    durable_name=RELAY_CONSUMER,
                    filter_subject=RELAY_LANE,
                    ack_policy=AckPolicy.EXPLICIT,
                    ack_wait=ACK_WAIT_S,
                    max_ack_pending=ACK_PENDING_LIMIT,
                    max_deliver=-1,
                ),
            )

    async def _pull(self, pulls: Pulls) -> None:
        """Ask for as many as there is room for, or wait until there is room. Raises BusUnavailable."""
        self._changed.clear()
        room = self._concurrency - len(self._jobs)
        if room >= self._least_room and not pulls.owed:
            await pulls.ask(RELAY_STREAM, RELAY_CONSUMER, room, FETCH_WAIT_S)
            return
        try:
            async with asyncio.timeout(FETCH_WAIT_S):
                await self._changed.wait()
        except TimeoutError:
            pulls.check()

    def _start(self, message: Msg) -> None:
        task = asyncio.create_task(self._handle(message), name="relay-job")
        self._jobs.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._jobs.discard(task)
        self._changed.set()

    async def _settle(self, pulls: Pulls) -> None:
        """What was asked for still comes, for as long as it may: nobody else would get it before ACK_WAIT_S."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FETCH_WAIT_S):
                while pulls.owed and self._bus.connected:
                    self._changed.clear()
                    await self._changed.wait()
        await _dropped(pulls)

    async def _handle(self, message: Msg) -> None:
        parent = tracing.parse((message.headers or {}).get(tracing.HEADER, ""))
        with tracing.span("smtp_out.relay", parent, "consumer"):
            try:
                await self._worker.handle(message)
            except Exception:
                # A bug of ours: the job comes again after ACK_WAIT_S.
                log.exception("job_failed")

    async def _finish(self) -> None:
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=STOP_GRACE_S)
        late = list(self._jobs)
        for task in late:
            task.cancel()
        if late:
            log.warning("jobs_interrupted", jobs=len(late))
            await asyncio.wait(late, timeout=INTERRUPT_S)


async def _dropped(pulls: Pulls | None) -> None:
    if pulls is not None:
        with contextlib.suppress(NatsError, OSError, TimeoutError):
            async with asyncio.timeout(FETCH_WAIT_S):
                await pulls.close()


async def _pause(stopping: asyncio.Event, pause_s: float) -> None:
    try:
        async with asyncio.timeout(pause_s):
            await stopping.wait()
    except TimeoutError:
        return
