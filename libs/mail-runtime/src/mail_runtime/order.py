"""Order on NATS: an echo proves what was heard before it, here and at the other end.

A NATS server deals with what one connection sends in order, and puts what it has for another in line before it takes
the next. So once a message to ourselves is back, everything that we had published is in line for who subscribed, and
everything that was in line for us has been delivered. Two processes make a proof of it: who changes something publishes
it and waits for an echo before it answers; who wants to know whether it has missed something waits for an echo of its
own. Servers of a cluster hand messages on to each other, and prove nothing. Neither does a PING of nats-py, which is
written ahead of what was published and not yet sent.
"""

from __future__ import annotations

import asyncio
from asyncio import Future, TimerHandle
from typing import Final

from mail_runtime.bus import Bus, BusUnavailable, Msg

# Nobody waits longer for NATS: it is never in the way of mail.
ECHO_TIMEOUT_S: Final = 2.0
# Once an echo didn't come in time nobody waits for another until it comes, or for so long.
PAUSE_S: Final = 5.0


class Echoes:
    """Of one process and event loop. All that wait at a moment share one message; one is on its way at a time."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._subject = ""
        # Those that the echo under way answers, and those that came after it was sent.
        self._answered: list[Future[bool]] = []
        self._waiting: list[Future[bool]] = []
        self._number = 0
        self._timer: TimerHandle | None = None
        self._paused_until = 0.0
        bus.on_connect(self._connected)

    async def heard(self) -> bool:
        """Whether it is proven for everything before this call. False: it isn't, for whatever reason."""
        loop = asyncio.get_running_loop()
        if not self._subject or loop.time() < self._paused_until or not self._bus.keeps_order:
            return False
        interruptions = self._bus.interruptions
        waiter = loop.create_future()
        self._waiting.append(waiter)
        if self._timer is None:
            await self._send()
        return await waiter and self._bus.keeps_order and self._bus.interruptions == interruptions

    async def _connected(self) -> None:
        self._end(is_heard=False)
        self._paused_until = 0.0
        if not self._subject:
            subject = self._bus.new_inbox()
            try:
                await self._bus.subscribe(subject, self._came_back)
            except BusUnavailable:
                return  # there will be another connection
            self._subject = subject

    async def _send(self) -> None:
        self._answered, self._waiting = self._waiting, []
        self._number += 1
        self._timer = asyncio.get_running_loop().call_later(ECHO_TIMEOUT_S, self._missed)
        await self._bus.publish(self._subject, b"%d" % self._number)

    async def _came_back(self, message: Msg) -> None:
        if message.data != b"%d" % self._number:
            return
        self._paused_until = 0.0
        waiting, self._waiting = self._waiting, []
        self._end(is_heard=True)
        self._waiting = waiting
        if waiting:
            await self._send()

    def _missed(self) -> None:
        self._paused_until = asyncio.get_running_loop().time() + PAUSE_S
        self._end(is_heard=False)

    def _end(self, *, is_heard: bool) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiters, self._answered, self._waiting = [*self._answered, *self._waiting], [], []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(is_heard)
