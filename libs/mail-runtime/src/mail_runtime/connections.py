"""The open client connections of a service: counted, limited, and ended together on SIGTERM."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol


class Stoppable(Protocol):
    """A connection that can be asked to end at the next point where nothing is under way."""

    def stop(self) -> None: ...


class Connections:
    """All open connections. `limit` holds for all listeners of the process together."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: dict[asyncio.Task[None], Stoppable] = {}
        self.stopping = False

    def __len__(self) -> int:
        return len(self._open)

    @property
    def is_full(self) -> bool:
        return len(self._open) >= self._limit

    def add(self, task: asyncio.Task[None], connection: Stoppable) -> None:
        """Keep it until its task ends."""
        self._open[task] = connection
        task.add_done_callback(lambda ended: self._open.pop(ended, None))

    async def stop_all(self, grace_s: float, on_abort: Callable[[int], None], drain_s: float = 0.0) -> None:
        """Ask each to stop, evenly over `drain_s`; `grace_s` later cancel those that still run.

        `on_abort` is told how many these are. Clients whose connection ends connect again, to another replica: spread
        over some time these are logins like any others.
        """
        self.stopping = True
        loop = asyncio.get_running_loop()
        before, start = list(self._open.items()), loop.time()
        for n, (task, connection) in enumerate(before):
            wait_s = start + drain_s * n / len(before) - loop.time()
            if wait_s > 0 and not task.done():
                await asyncio.sleep(wait_s)
            if not task.done():
                connection.stop()
        if not self._open:
            return
        _, late = await asyncio.wait(list(self._open), timeout=grace_s)
        if late:
            on_abort(len(late))
            for task in late:
                task.cancel()
            await asyncio.wait(late, timeout=1.0)
