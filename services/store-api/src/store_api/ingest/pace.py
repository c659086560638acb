"""How busy a process is with mail that comes in, so that work that can wait gives way to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final

WINDOW_S: Final = 0.5
# Ours: busy is who had so many messages in hand at a time, on average over a window. Fewer are stored as they come.
BUSY_MESSAGES: Final = 4.0
# The part of a busy process's time that other work gets: indexing was a fifth of what mail at full speed cost, and
# a thirtieth of that mail was indexed for it.
OTHER_SHARE: Final = 0.05
# What other work waits at most between two pieces, however long the last one took: 20 s.
PATIENCE_WINDOWS: Final = 40


class Pace:
    """Use as `with pace:` around each message in hand; any number at the same time."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._window_began = self._changed = self._let_go = clock()
        self._in_hand = 0
        self._message_seconds = 0.0
        self._mean = 0.0

    def __enter__(self) -> None:
        self._roll()
        self._in_hand += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._roll()
        self._in_hand -= 1

    def _roll(self) -> None:
        """Account for the time until now; begin another window if this one is over."""
        now = self._clock()
        self._message_seconds += self._in_hand * (now - self._changed)
        self._changed = now
        if (passed := now - self._window_began) >= WINDOW_S:
            self._mean, self._window_began, self._message_seconds = self._message_seconds / passed, now, 0.0

    @property
    def is_busy(self) -> bool:
        """By the last window, or as soon as the one that runs can't come out otherwise.

        Else mail that begins to come at full speed is indexed for up to a window beside what follows it.
        """
        self._roll()
        return max(self._mean, self._message_seconds / WINDOW_S) >= BUSY_MESSAGES

    async def give_way(self) -> None:
        """Return when there is time for a piece of other work: at once, or when the last one has had its share.

        For one worker: what passes from one call to the next counts as its work.
        """
        worked_s = self._clock() - self._let_go
        for _ in range(max(1, min(PATIENCE_WINDOWS, round(worked_s / OTHER_SHARE / WINDOW_S)))):
            if not self.is_busy:
                break
            await self._sleep(WINDOW_S)
        self._let_go = self._clock()
