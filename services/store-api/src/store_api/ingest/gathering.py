"""The queue in front of the committers: what goes into the next batch, and when it is worth a transaction.

A transaction costs the same however much is in it, and so do its statements. Who has committed therefore doesn't go
again with the first message that comes, while the messages of his last batch are only being answered: he waits until
as many have gathered as the others have in hand, or until these have ended. So the messages of many callers part into
halves, of which one is received while the other is stored; a message that comes alone finds nobody ahead, and goes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from store_api.ingest.drafts import Arrived
from store_api.ingest.incoming import Group, Stored

BATCH_MESSAGES: Final = 256
BATCH_OCTETS: Final = 32 * 1024 * 1024
# Ours: what a message waits at most for others to keep it company; a batch takes about as long.
GATHER_S: Final = 0.03


@dataclass(frozen=True, slots=True)
class Waiting:
    """A transmission that must be planned, or messages whose mailboxes are known."""

    request: Arrived | Group
    octets: int
    future: asyncio.Future[list[Stored]]


class Gathering:
    """For one event loop; any number of committers take from it."""

    def __init__(self, gather_s: float = GATHER_S) -> None:
        self._gather_s = gather_s
        self._pending: deque[Waiting] = deque()
        self._in_hand = 0
        self._changed = asyncio.Event()
        self.octets = 0

    def add(self, waiting: Waiting) -> None:
        """Put it at the end."""
        self._pending.append(waiting)
        self.octets += waiting.octets
        if len(self._pending) == 1 or self._is_enough():
            self._changed.set()

    @asynccontextmanager
    async def batch(self) -> AsyncIterator[list[Waiting]]:
        """The next messages to commit together, in hand while the block runs. Without those that were cancelled."""
        taken: list[Waiting] = []
        while not taken:
            await self._wait()
            taken = self._take()
        self._in_hand += len(taken)
        try:
            yield taken
        finally:
            self._in_hand -= len(taken)
            self._changed.set()

    async def _wait(self) -> None:
        """Return when there is something, and enough of it or for long enough."""
        while not self._pending:
            self._changed.clear()
            await self._changed.wait()
        if self._is_enough():
            return
        try:
            async with asyncio.timeout(self._gather_s):
                while not self._is_enough():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return

    def _is_enough(self) -> bool:
        return len(self._pending) >= min(self._in_hand, BATCH_MESSAGES) or self.octets >= BATCH_OCTETS

    def _take(self) -> list[Waiting]:
        batch: list[Waiting] = []
        octets = 0
        while self._pending and len(batch) < BATCH_MESSAGES and (not batch or octets < BATCH_OCTETS):
            waiting = self._pending.popleft()
            self.octets -= waiting.octets
            octets += waiting.octets
            if not waiting.future.done():  # its request was cancelled
                batch.append(waiting)
        return batch
