"""Requests for jobs from a JetStream consumer (its API's CONSUMER.MSG.NEXT), one at a time.

What nats-py offers waits until a request is filled or its time is over, and only then hands over what came with the
first of it: a second, where jobs come one by one. Here each job is handed over as it comes, and one request is for all
the room that there is.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Final

from nats.aio.subscription import Subscription

from mail_runtime.bus import Bus, BusUnavailable, Msg

_NEXT: Final = "$JS.API.CONSUMER.MSG.NEXT"
# A request's time is over; there was nothing.
_ENDED: Final = frozenset({"408", "404"})
_HEARTBEAT: Final = "100"
# NATS says itself when a request has ended; who hears nothing for so much longer has lost it.
LATE_S: Final = 5.0


class Pulls:
    """Made by `begin`; `arrived` is called with each job, `changed` when a request has ended."""

    def __init__(self, bus: Bus, inbox: str, arrived: Callable[[Msg], None], changed: Callable[[], None]) -> None:
        self._bus, self._inbox = bus, inbox
        self._arrived, self._changed = arrived, changed
        self._numbers = itertools.count()
        self._reply, self._until, self._lost = "", 0.0, ""
        self._subscription: Subscription | None = None
        # Jobs that the request under way may still bring.
        self.owed = 0

    @classmethod
    async def begin(cls, bus: Bus, arrived: Callable[[Msg], None], changed: Callable[[], None]) -> Pulls:
        """Raises BusUnavailable."""
        pulls = cls(bus, bus.new_inbox(), arrived, changed)
        pulls._subscription = await bus.subscribe(f"{pulls._inbox}.*", pulls._take)
        return pulls

    async def ask(self, stream: str, consumer: str, jobs: int, wait_s: float) -> None:
        """Ask for up to so many jobs, as they come within that time; none may be owed. Raises BusUnavailable."""
        self.check()
        self._reply, self.owed = f"{self._inbox}.{next(self._numbers)}", jobs
        self._until = asyncio.get_running_loop().time() + wait_s + LATE_S
        request = json.dumps({"batch": jobs, "expires": int(wait_s * 1e9)}).encode()
        await self._bus.publish(f"{_NEXT}.{stream}.{consumer}", request, reply=self._reply)

    def check(self) -> None:
        """Raises BusUnavailable: no job will come any more, begin anew."""
        if not self._bus.connected:
            raise BusUnavailable("not connected to NATS")
        if self._lost or (self.owed and self._until < asyncio.get_running_loop().time()):
            raise BusUnavailable(self._lost or "a request for jobs wasn't answered")

    async def _take(self, message: Msg) -> None:
        """A job has its own subject; what NATS says of a request has that of the request's answers."""
        status = (message.headers or {}).get("Status", "")
        if not status:
            self.owed = max(0, self.owed - 1)
            self._arrived(message)
        elif message.subject == self._reply and status != _HEARTBEAT:
            self.owed = 0
            if status not in _ENDED:
                self._lost = f"{status} {(message.headers or {}).get('Description', '')}"
        if not self.owed:
            self._changed()

    async def close(self) -> None:
        """Leave no request behind that could take a job which nobody reads. Raises NatsError, OSError."""
        if self._subscription is not None:
            await self._subscription.unsubscribe()
