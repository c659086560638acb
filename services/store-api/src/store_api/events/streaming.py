"""Events as they happen, for one listener: read from the stream `EVENTS` with a consumer of its own.

The listener pulls: one that is slow is behind, and holds nothing but its own request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec
import nats.errors
import structlog
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import Error as JetStreamError

from mail_runtime.bus import Bus, BusUnavailable
from mail_runtime.contracts.errors import Unavailable
from mail_runtime.contracts.events import EVENTS_STREAM, EVENTS_SUBJECTS, event_subject
from store_api.events.publisher import prepare_stream

log = structlog.get_logger()

# Of one process; each has a consumer at NATS.
MAX_LISTENERS: Final = 100
HEARTBEAT_S: Final = 15.0
# What comes right behind an event is told together.
BURST: Final = 100
BURST_S: Final = 0.1
# NATS forgets the consumer of a listener that is gone.
INACTIVE_S: Final = 120.0


class _Whose(msgspec.Struct, frozen=True):
    """The part of a CloudEvent that says who may see it."""

    type: str
    domainid: UUID | None = None
    accountid: UUID | None = None


@dataclass(frozen=True, slots=True)
class Interest:
    """What one listener gets: events of a domain, of an account, of these types (`message.*`); None: all."""

    domain_id: UUID | None = None
    account_id: UUID | None = None
    types: Sequence[str] = ()

    def wants(self, event: _Whose) -> bool:
        return (self.domain_id is None or event.domainid == self.domain_id) and (
            self.account_id is None or event.accountid == self.account_id
        )

    @property
    def subjects(self) -> list[str]:
        return [event_subject(each) for each in self.types] or [EVENTS_SUBJECTS]


@dataclass(frozen=True, slots=True)
class Told:
    """One event: its place in the stream, its type, the CloudEvent as JSON."""

    sequence: int
    type: str
    body: bytes


class EventStreams:
    """All listeners of a process."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._listeners = 0
        self._closing = asyncio.Event()

    def close(self) -> None:
        """The process stops: listeners end, and come back to another one."""
        self._closing.set()

    async def listen(self, interest: Interest, after: int | None, for_s: float) -> AsyncIterator[Told | None]:
        """Events after a place in the stream, or from now on; None: nothing happened for a while.

        Ends after `for_s`, and when NATS goes. Raises Unavailable: NATS is away, or too many listen.
        """
        if self._listeners >= MAX_LISTENERS:
            raise Unavailable("too many listen to events here; try again later")
        try:
            subscription = await self._subscribe(interest, after)
        except (BusUnavailable, JetStreamError, nats.errors.Error, TimeoutError, OSError) as error:
            raise Unavailable("events can't be read now; try again later") from error
        return self._told(subscription, interest, for_s)

    async def _subscribe(self, interest: Interest, after: int | None) -> JetStreamContext.PullSubscription:
        jetstream = await prepare_stream(self._bus)
        start = ConsumerConfig(
            ack_policy=AckPolicy.NONE,
            filter_subjects=interest.subjects,
            inactive_threshold=INACTIVE_S,
            mem_storage=True,
            deliver_policy=DeliverPolicy.NEW,
        )
        if after is not None:
            known = (await jetstream.stream_info(EVENTS_STREAM)).state.last_seq
            # A place that the stream hasn't reached is one of another stream: tell all there is.
            first = after + 1 if after <= known else 1
            start = start.evolve(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=first)
        return await jetstream.pull_subscribe(EVENTS_SUBJECTS, stream=EVENTS_STREAM, config=start)

    async def _told(self, subscription: Any, interest: Interest, for_s: float) -> AsyncIterator[Told | None]:
        self._listeners += 1
        end = time.monotonic() + for_s
        try:
            yield None
            number, timeout_s, spoken = 1, HEARTBEAT_S, time.monotonic()
            while not self._closing.is_set() and (left := end - time.monotonic()) > 0:
                messages = await self._fetched(subscription, number, min(left, timeout_s))
                number, timeout_s = (BURST, BURST_S) if messages else (1, HEARTBEAT_S)
                for message in messages:
                    event = msgspec.json.decode(message.data, type=_Whose)
                    if interest.wants(event):
                        spoken = time.monotonic()
                        yield Told(message.metadata.sequence.stream, event.type, message.data)
                if time.monotonic() - spoken >= HEARTBEAT_S:
                    spoken = time.monotonic()
                    yield None
        except (JetStreamError, nats.errors.Error, OSError) as error:
            log.info("events_stream_ended", error=repr(error))
        finally:
            self._listeners -= 1
            try:
                await subscription.unsubscribe()
            except (nats.errors.Error, OSError):
                log.debug("events_consumer_left")

    async def _fetched(self, subscription: Any, number: int, timeout_s: float) -> list[Any]:
        """Messages, once there are so many or the time is over; none when the process stops.

        nats-py waits for a batch to be full: the first is asked for alone, more of a burst follow together.
        """
        fetching = asyncio.ensure_future(subscription.fetch(number, timeout=timeout_s))
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait({fetching, closing}, return_when=asyncio.FIRST_COMPLETED)
            return list(fetching.result()) if fetching.done() else []
        except (TimeoutError, nats.errors.TimeoutError):
            return []
        finally:
            for task in (fetching, closing):
                task.cancel()
            await asyncio.gather(fetching, closing, return_exceptions=True)
