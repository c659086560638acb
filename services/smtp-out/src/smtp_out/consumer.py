"""Jobs from JetStream to the worker: bounded, pulled only when there is room, for ever."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import structlog
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import NotFoundError

from mail_runtime import tracing
from mail_runtime.bus import Bus, BusUnavailable, Msg
from mail_runtime.contracts.subjects import RELAY_CONSUMER, RELAY_LANE, RELAY_STREAM
from smtp_out.worker import ACK_WAIT_S, Worker

log = structlog.get_logger()

# Also how long a stop may wait for the pull that is under way.
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

    async def run(self, stopping: asyncio.Event) -> None:
        """Pull and handle until `stopping` is set, then finish what runs, within STOP_GRACE_S."""
        subscription: JetStreamContext.PullSubscription | None = None
        while not stopping.is_set():
            try:
                if subscription is None:
                    subscription = await self._subscribe()
                    log.info("consuming", stream=RELAY_STREAM)
                await self._pull(subscription)
            except (BusUnavailable, NatsError, OSError, TimeoutError) as error:
                # The stream isn't there before the store has been: nothing to complain about.
                if not isinstance(error, (BusUnavailable, NotFoundError)):
                    log.info("consumer_waits", error=repr(error))
                await _dropped(subscription)
                subscription = None
                await _pause(stopping, RETRY_S)
        await self._finish()

    async def _subscribe(self) -> JetStreamContext.PullSubscription:
        return await self._bus.jetstream().pull_subscribe(
            RELAY_LANE,
            durable=RELAY_CONSUMER,
            stream=RELAY_STREAM,
            config=ConsumerConfig(
                ack_policy=AckPolicy.EXPLICIT, ack_wait=ACK_WAIT_S, max_ack_pending=ACK_PENDING_LIMIT, max_deliver=-1
            ),
        )

    async def _pull(self, subscription: JetStreamContext.PullSubscription) -> None:
        room = self._concurrency - len(self._jobs)
        if room <= 0:
            await asyncio.wait(self._jobs, timeout=FETCH_WAIT_S, return_when=asyncio.FIRST_COMPLETED)
            return
        try:
            messages = await subscription.fetch(room, timeout=FETCH_WAIT_S)
        except TimeoutError:
            await self._check(subscription)
            return
        for message in messages:
            task = asyncio.create_task(self._handle(message), name="relay-job")
            self._jobs.add(task)
            task.add_done_callback(self._jobs.discard)

    async def _check(self, subscription: JetStreamContext.PullSubscription) -> None:
        """Raises BusUnavailable, NotFoundError: nothing will come any more, for the stream was made anew."""
        if not self._bus.connected:
            raise BusUnavailable("not connected to NATS")
        try:
            async with asyncio.timeout(FETCH_WAIT_S):
                await subscription.consumer_info()
        except TimeoutError:
            # NATS is slow to tell; the next pull will show.
            log.debug("consumer_info_late")

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


async def _dropped(subscription: JetStreamContext.PullSubscription | None) -> None:
    """Leave no pull behind that could take a job which nobody reads."""
    if subscription is not None:
        with contextlib.suppress(NatsError, OSError, TimeoutError):
            async with asyncio.timeout(FETCH_WAIT_S):
                await subscription.unsubscribe()


async def _pause(stopping: asyncio.Event, pause_s: float) -> None:
    try:
        async with asyncio.timeout(pause_s):
            await stopping.wait()
    except TimeoutError:
        return
