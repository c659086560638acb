"""What replicas know of destinations together: one small value each in a JetStream key-value bucket (decision 14).

Changes are compare-and-set; whoever comes second looks again. Without NATS there are no jobs either, so what runs then
goes by what this process alone knows.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final
from uuid import uuid4

import msgspec
import structlog
from nats.errors import Error as NatsError
from nats.js.api import KeyValueConfig, StorageType
from nats.js.errors import BucketNotFoundError, KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from mail_runtime.bus import Bus, BusUnavailable
from smtp_out.pace import BUSY_DELAY_S, Busy, Shared

log = structlog.get_logger()

BUCKET: Final = "relay_destinations"
# A destination that nobody wrote to for so long starts anew.
FORGET_S: Final = 3600.0
BUCKET_OCTETS: Final = 64 * 1024 * 1024
# A step that meets another replica's again and again.
TRIES: Final = 20
TIMEOUT_S: Final = 3.0
KNOWN_LIMIT: Final = 10_000

Step = Callable[[Shared], Shared]


class Sharing:
    """One per process; `worker` names it among the replicas."""

    def __init__(self, bus: Bus | None, clock: Callable[[], float] = time.time) -> None:
        self.worker = uuid4().hex
        self.clock = clock
        self._bus = bus
        self._bucket: KeyValue | None = None
        self._known: OrderedDict[str, tuple[int, Shared]] = OrderedDict()

    async def change(self, destination: str, step: Step) -> Shared:
        """Do the step for all replicas and return what is known now. Raises Busy, as the step does."""
        key = _key(destination)
        if self._bus is not None:
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    return await self._change(self._bus, key, step)
            except (BusUnavailable, NatsError, OSError, TimeoutError) as error:
                self._bucket = None
                log.info("limits_not_shared", destination=destination, error=repr(error))
        return self._note(key, 0, step(self._known.get(key, (0, Shared()))[1]))

    async def _change(self, bus: Bus, key: str, step: Step) -> Shared:
        """From what we know, as long as that is the latest; a refusal is never made of old knowledge."""
        bucket = await self._opened(bus)
        known = self._known.get(key)
        for _ in range(TRIES):
            fresh = known is None
            revision, shared = known or await self._read(bucket, key)
            try:
                changed = step(shared)
                if changed is shared and fresh:
                    return self._note(key, revision, shared)
                revision = await bucket.update(key, msgspec.msgpack.encode(changed), last=revision)
                return self._note(key, revision, changed)
            except Busy:
                if fresh:
                    raise
            except KeyWrongLastSequenceError:
                log.debug("limits_changed_elsewhere", key=key)
            known = None
        raise Busy(BUSY_DELAY_S)

    async def _read(self, bucket: KeyValue, key: str) -> tuple[int, Shared]:
        try:
            entry = await bucket.get(key)
        except KeyNotFoundError:
            return 0, Shared()
        return entry.revision or 0, msgspec.msgpack.decode(entry.value or b"\x80", type=Shared)

    async def _opened(self, bus: Bus) -> KeyValue:
        if self._bucket is None:
            jetstream = bus.jetstream()
            try:
                self._bucket = await jetstream.key_value(BUCKET)
            except BucketNotFoundError:
                self._bucket = await jetstream.create_key_value(
                    KeyValueConfig(
                        bucket=BUCKET, ttl=FORGET_S, storage=StorageType.MEMORY, max_bytes=BUCKET_OCTETS, history=1
                    )
                )
        return self._bucket

    def _note(self, key: str, revision: int, shared: Shared) -> Shared:
        self._known[key] = (revision, shared)
        self._known.move_to_end(key)
        while len(self._known) > KNOWN_LIMIT:
            self._known.popitem(last=False)
        return shared


def _key(destination: str) -> str:
    """Keys of a bucket are made of letters, digits and a few signs."""
    return "d." + destination.encode().hex() if not destination.replace(".", "a").isalnum() else f"n.{destination}"
