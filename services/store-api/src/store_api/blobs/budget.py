"""How many octets of bodies a process holds at a time: who wants more waits for its turn."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from mail_runtime.contracts.errors import Unavailable
from store_api.blobs.metrics import IN_FLIGHT

# Longer than two large messages take to pass; less than the frontends wait.
WAIT_TIMEOUT_S: Final = 60.0


class OctetBudget:
    """First come, first served: a large body can't be starved by small ones. For one event loop."""

    def __init__(self, octets: int) -> None:
        self._limit, self._taken = octets, 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def take(self, octets: int) -> AsyncIterator[None]:
        """Hold so many octets while the block runs; what is larger than the budget passes alone.

        Take once for what is done at a time: who holds some and waits for more may wait for himself.
        Raises Unavailable: too many others hold theirs too long.
        """
        if self._waiting or not self._has_room(octets):
            await self._wait(octets)
        else:
            self._change(octets)
        try:
            yield
        finally:
            self._change(-octets)
            self._admit()

    def _has_room(self, octets: int) -> bool:
        return self._taken == 0 or self._taken + octets <= self._limit

    def _change(self, octets: int) -> None:
        self._taken += octets
        IN_FLIGHT.inc(octets)

    async def _wait(self, octets: int) -> None:
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((octets, admitted))
        try:
            async with asyncio.timeout(WAIT_TIMEOUT_S):
                await admitted
        except BaseException as error:
            if admitted.done() and not admitted.cancelled():
                self._change(-octets)  # admitted in the moment of giving up
            self._admit()
            if isinstance(error, TimeoutError):
                raise Unavailable("too much mail is under way; try again later") from error
            raise

    def _admit(self) -> None:
        """Let in whose turn it is. Those who gave up are passed over."""
        while self._waiting:
            octets, admitted = self._waiting[0]
            if not admitted.done():
                if not self._has_room(octets):
                    return
                self._change(octets)
                admitted.set_result(None)
            self._waiting.popleft()
