"""How busy a process is with mail that comes in, so that work that can wait gives way to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final

WINDOW_S: Final = 0.5
# Ours: busy is who had a message in hand for this share of the last window.
BUSY_SHARE: Final = 0.6
# How many windows something waits at most, however much mail comes in: 3 s.
PATIENCE_WINDOWS: Final = 6


class Pace:
    """Use as `with pace:` around each message in hand; any number at the same time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._window_began = self._in_hand_since = clock()
        self._in_hand = 0
        self._busy_s = 0.0
        self._share = 0.0

    def __enter__(self) -> None:
        self._roll()
        if self._in_hand == 0:
            self._in_hand_since = self._clock()
        self._in_hand += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._in_hand -= 1
        if self._in_hand == 0:
            self._busy_s += self._clock() - self._in_hand_since
        self._roll()

    def _roll(self) -> None:
        """Begin another window if this one is over."""
        now = self._clock()
        if (passed := now - self._window_began) < WINDOW_S:
            return
        if self._in_hand:
            self._busy_s += now - self._in_hand_since
            self._in_hand_since = now
        self._share, self._window_began, self._busy_s = self._busy_s / passed, now, 0.0

    @property
    def is_busy(self) -> bool:
        self._roll()
        return self._share >= BUSY_SHARE

    async def give_way(self) -> None:
        """Return when there is time for other work, at the latest after PATIENCE_WINDOWS."""
        for _ in range(PATIENCE_WINDOWS):
            if not self.is_busy:
                return
            await asyncio.sleep(WINDOW_S)
