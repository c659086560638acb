"""A circuit: what has failed again and again isn't asked for a while, so that callers hear so at once.

closed --FAILURES attempts in a row fail--> open --PAUSE_S--> one attempt goes through --ok--> closed
                                              ^-------------------failure-----------------'
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from store_api.blobs.metrics import CIRCUIT_OPEN

# More than the attempts of one request: a single unlucky object doesn't open it.
FAILURES: Final = 6
PAUSE_S: Final = 1.0


class Circuit:
    """Safe for concurrent use by threads. `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._ask_again_at = 0.0

    @property
    def is_open(self) -> bool:
        return self._failures >= FAILURES

    def refuses(self) -> bool:
        """Whether the next attempt would be refused."""
        return self.is_open and self._clock() < self._ask_again_at

    def admits(self) -> bool:
        """Whether to make an attempt now; while open, one in PAUSE_S. Tell `succeeded` or `failed` how it ended."""
        with self._lock:
            if not self.is_open:
                return True
            now = self._clock()
            if now < self._ask_again_at:
                return False
            self._ask_again_at = now + PAUSE_S
            return True

    def succeeded(self) -> None:
        with self._lock:
            has_failed, self._failures = self._failures > 0, 0
        if has_failed:
            CIRCUIT_OPEN.set(0)

    def failed(self) -> None:
        with self._lock:
            self._failures += 1
            if not self.is_open:
                return
            self._ask_again_at = self._clock() + PAUSE_S
        CIRCUIT_OPEN.set(1)
