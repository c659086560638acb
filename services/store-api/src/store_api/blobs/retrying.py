"""Requests to an object storage: counted, tried again with jitter while that may help, refused while it is away."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import cache
from typing import BinaryIO, Final, TypeVar

from store_api.blobs.circuit import Circuit
from store_api.blobs.faults import Failed, ObjectMissing, Passing
from store_api.blobs.metrics import OCTETS, REQUESTS, SECONDS
from store_api.blobs.storage import Storage

T = TypeVar("T")

ATTEMPTS: Final = 4
# The longest pause before the second attempt; doubles with each. The pause is drawn from 0 to that, so that replicas
# which failed together don't return together.
FIRST_PAUSE_S: Final = 0.1
# After this no further attempt begins: frontends wait 30 s for an answer.
DEADLINE_S: Final = 15.0

# Looking a child up by its labels takes longer than counting.
_seconds: Final = cache(SECONDS.labels)
_requests: Final = cache(REQUESTS.labels)
_OCTETS_READ: Final = OCTETS.labels("get")


class RetryingStorage:
    """A storage over another; blocks as that does. Raises what it raises, and Passing at once while it is away."""

    def __init__(self, storage: Storage, circuit: Circuit) -> None:
        self._storage, self.circuit = storage, circuit

    @property
    def has_latency(self) -> bool:
        return self._storage.has_latency

    def check(self) -> None:
        self._try("check", self._storage.check)

    def write(self, key: str, source: BinaryIO, length: int) -> None:
        start = source.tell()

        def attempt() -> None:
            source.seek(start)
            self._storage.write(key, source, length)

        self._try("put", attempt)
        OCTETS.labels("put").inc(length)

    def read(self, key: str, offset: int, length: int) -> bytes:
        octets = self._try("get", lambda: self._storage.read(key, offset, length))
        _OCTETS_READ.inc(len(octets))
        return octets

    def delete(self, key: str) -> None:
        self._try("delete", lambda: self._storage.delete(key))

    def keys(self, after: str, limit: int) -> list[str]:
        return self._try("list", lambda: self._storage.keys(after, limit))

    def _try(self, operation: str, attempt: Callable[[], T]) -> T:
        deadline = time.monotonic() + DEADLINE_S
        limit_s = FIRST_PAUSE_S
        for left in reversed(range(ATTEMPTS)):
            if not self.circuit.admits():
                raise Passing("the object storage is away")
            try:
                return self._attempt(operation, attempt)
            except Passing:
                pause_s = random.uniform(0, limit_s)  # noqa: S311 - spreads load
                if not left or self.circuit.refuses() or time.monotonic() + pause_s > deadline:
                    raise
            time.sleep(pause_s)
            limit_s *= 2
        raise AssertionError("the last attempt returns or raises")

    def _attempt(self, operation: str, attempt: Callable[[], T]) -> T:
        outcome = "failed"
        began = time.monotonic()
        try:
            result = attempt()
            outcome = "ok"
            self.circuit.succeeded()
            return result
        except (ObjectMissing, Failed) as error:
            outcome = "missing" if isinstance(error, ObjectMissing) else "failed"
            self.circuit.succeeded()  # it answers
            raise
        except Passing:
            outcome = "passing"
            self.circuit.failed()
            raise
        finally:
            _seconds(operation).observe(time.monotonic() - began)
            _requests(operation, outcome).inc()
