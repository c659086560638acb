"""Order on NATS: an echo proves what was heard before it, here and at the other end.

A NATS server deals with what one connection sends in order, and puts what it has for another in line before it takes
the next. So once the answer to a PING is back, everything that we had published before is in line for who subscribed,
and everything that was in line for us has been delivered. Two processes make a proof of it: who changes something
publishes it and waits for an echo before it answers; who wants to know whether it has missed something waits for an
echo of its own. Servers of a cluster hand messages on to each other, and prove nothing.
"""

from __future__ import annotations

import asyncio
from asyncio import Future, TimerHandle
from functools import partial
from typing import Final

from mail_runtime.bus import Bus

# Nobody waits longer for NATS: it is never in the way of mail.
ECHO_TIMEOUT_S: Final = 2.0
# Once an echo didn't come in time nobody waits for another until it comes, or for so long.
PAUSE_S: Final = 5.0


class Echoes:
    """Of one process and event loop. All that ask in one turn of the loop share one; one is on its way at a time."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        # Those that the echo under way answers, and those that came after it was sent.
        self._answered: list[Future[bool]] = []
        self._waiting: list[Future[bool]] = []
        self._number = 0
        self._is_under_way = False
        # One timer for all echoes, moved only when it goes off too early.
        self._timer: TimerHandle | None = None
        self._late_at = self._paused_until = 0.0
        bus.on_connect(self._connected)

    async def heard(self) -> bool:
        """Whether it is proven for everything before this call. False: it isn't, for whatever reason."""
        loop, bus = asyncio.get_running_loop(), self._bus
        if loop.time() < self._paused_until or not bus.keeps_order:
            return False
        interruptions = bus.interruptions
        waiter = loop.create_future()
        self._waiting.append(waiter)
        if not self._is_under_way:
            self._is_under_way = True
            loop.call_soon(self._send)
        return await waiter and bus.interruptions == interruptions

    async def _connected(self) -> None:
        self._end(is_heard=False)
        self._paused_until = 0.0

    def _send(self) -> None:
        if not self._waiting:
            return  # the connection was lost meanwhile, and nobody waits any more
        self._answered, self._waiting = self._waiting, []
        self._number += 1
        self._late_at = asyncio.get_running_loop().time() + ECHO_TIMEOUT_S
        self._set_timer()
        self._bus.sound(partial(self._came_back, self._number))

    def _came_back(self, number: int) -> None:
        if number != self._number:
            return
        self._paused_until = 0.0
        waiting, self._waiting = self._waiting, []
        self._end(is_heard=True)
        self._waiting = waiting
        if waiting:
            self._is_under_way = True
            asyncio.get_running_loop().call_soon(self._send)

    def _set_timer(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(self._late_at, self._look)

    def _look(self) -> None:
        """Whether the one under way is late."""
        self._timer = None
        if not self._is_under_way:
            return
        now = asyncio.get_running_loop().time()
        if now < self._late_at:
            self._set_timer()
            return
        self._paused_until = now + PAUSE_S
        self._end(is_heard=False)

    def _end(self, *, is_heard: bool) -> None:
        waiters, self._answered, self._waiting = [*self._answered, *self._waiting], [], []
        self._is_under_way = False
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(is_heard)
