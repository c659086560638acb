"""Visits to destinations: each has a connection of its own, new or left open by the visit before (RFC 5321 §4.5.4.1).

A visit is let in when the destination's limits allow it, for all replicas together. A connection that still serves
is kept for the next visit, `IDLE_S` at most; it counts as one all the while.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import structlog

from mail_runtime.background import keep_running
from smtp_out.connection import Connection
from smtp_out.pace import HOLD_S, Limits, Shared, connected, counted, held, slowed
from smtp_out.sharing import Sharing

log = structlog.get_logger()

# Others want the remote's slots too; Postfix waits 2 s, servers give us minutes (RFC 5321 §4.5.3.2.7).
IDLE_S: Final = 5.0
RENEW_S: Final = HOLD_S / 3
# A destination of which no host could be reached is left alone for so long, doubled each time.
DOWN_S: Final = 30.0
DOWN_LIMIT_S: Final = 600.0
CLOSE_TIMEOUT_S: Final = 5.0


@dataclass(slots=True)
class Visit:
    """What a job works with. Set `connection` to what may be kept, `complained` when the remote wants less."""

    destination: str
    limits: Limits
    connection: Connection | None = None
    complained: bool = False
    unreachable: str = ""

    def full(self) -> bool:
        """The connection has carried as many messages as it may."""
        return self.connection is not None and self.connection.messages >= self.limits.messages_per_connection


@dataclass(slots=True)
class _Site:
    visitors: int = 0
    connections: int = 0
    idle: list[Connection] = field(default_factory=list)
    timers: dict[Connection, asyncio.TimerHandle] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True)
class Down:
    """No host could be reached; `text` says what was tried."""

    text: str
    until: float
    pause_s: float


class Destinations:
    """Use as `async with`; visits are concurrent."""

    def __init__(self, sharing: Sharing, down_s: float = DOWN_S) -> None:
        """`down_s`: how long what can't be reached is left alone at first."""
        self._sharing, self._down_s = sharing, down_s
        self._sites: dict[str, _Site] = {}
        self._down: dict[str, Down] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._renewing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Destinations:
        self._renewing = asyncio.create_task(keep_running("destinations-renew", self._renew))
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
        for destination, site in list(self._sites.items()):
            for connection in list(site.idle):
                self._expire(destination, connection)
        if self._closing:
            await asyncio.wait(list(self._closing), timeout=CLOSE_TIMEOUT_S)

    def down(self, destination: str) -> str:
        """Why there is no use in a visit now, or empty."""
        known = self._down.get(destination)
        if known is None or known.until <= self._sharing.clock():
            return ""
        return known.text

    @asynccontextmanager
    async def visit(self, destination: str, limits: Limits) -> AsyncIterator[Visit]:
        """Raises Busy: the destination takes no more now."""
        site = self._sites.setdefault(destination, _Site())
        site.visitors += 1
        try:
            visit = Visit(destination, limits, await self._admitted(destination, site, limits))
            try:
                yield visit
            finally:
                await self._left(site, visit)
        finally:
            site.visitors -= 1
            self._forget(destination, site)

    async def _admitted(self, destination: str, site: _Site, limits: Limits) -> Connection | None:
        """A connection that waits, or None: there may be a new one."""
        async with site.lock:
            connection = self._waiting(destination, site)
            if connection is None:
                wanted = site.connections + 1
                await self._sharing.change(destination, lambda shared: self._one_more(shared, limits, wanted))
                site.connections = wanted
            elif limits.messages_per_minute:
                try:
                    await self._sharing.change(destination, lambda shared: self._one_more(shared, limits, 0))
                except BaseException:
                    self._keep(destination, site, connection)
                    raise
            return connection

    def _one_more(self, shared: Shared, limits: Limits, connections: int) -> Shared:
        """One message more, and a connection if so many aren't there yet. Raises Busy."""
        now = self._sharing.clock()
        if connections:
            shared = connected(shared, self._sharing.worker, connections, limits, now)
        return counted(shared, limits, now)

    def _waiting(self, destination: str, site: _Site) -> Connection | None:
        while site.idle:
            connection = site.idle.pop()
            site.timers.pop(connection).cancel()
            if connection.usable:
                return connection
            self._dismiss(destination, site, connection)
        return None

    async def _left(self, site: _Site, visit: Visit) -> None:
        connection, now = visit.connection, self._sharing.clock()
        if visit.unreachable:
            before = self._down.get(visit.destination)
            pause_s = min(DOWN_LIMIT_S, before.pause_s * 2) if before else self._down_s
            self._down[visit.destination] = Down(visit.unreachable, now + pause_s, pause_s)
            log.info("destination_down", destination=visit.destination, pause_s=pause_s, error=visit.unreachable)
        elif connection is not None:
            self._down.pop(visit.destination, None)
        if visit.complained:
            log.info("destination_complains", destination=visit.destination)
            await self._sharing.change(visit.destination, lambda shared: slowed(shared, now))
        if connection is not None and connection.usable and not visit.full() and not visit.complained:
            self._keep(visit.destination, site, connection)
            return
        if connection is None:
            await self._gone(visit.destination, site)
        else:
            self._dismiss(visit.destination, site, connection)

    def _keep(self, destination: str, site: _Site, connection: Connection) -> None:
        site.idle.append(connection)
        loop = asyncio.get_running_loop()
        site.timers[connection] = loop.call_later(IDLE_S, self._expire, destination, connection)

    def _expire(self, destination: str, connection: Connection) -> None:
        site = self._sites[destination]
        site.idle.remove(connection)
        site.timers.pop(connection).cancel()
        self._dismiss(destination, site, connection)

    def _dismiss(self, destination: str, site: _Site, connection: Connection) -> None:
        """Close in the background: nobody has to wait for the answer to QUIT."""

        async def close() -> None:
            try:
                await connection.close()
            finally:
                await self._gone(destination, site)

        task = asyncio.create_task(close(), name="connection-close")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _gone(self, destination: str, site: _Site) -> None:
        """One connection less."""
        async with site.lock:
            site.connections -= 1
            await self._tell(destination, site)
        self._forget(destination, site)

    def _forget(self, destination: str, site: _Site) -> None:
        if not site.visitors and not site.connections:
            self._sites.pop(destination, None)

    async def _tell(self, destination: str, site: _Site) -> None:
        worker, now = self._sharing.worker, self._sharing.clock()
        await self._sharing.change(destination, lambda shared: held(shared, worker, site.connections, now))

    async def _renew(self) -> None:
        """Show that we live, or what we hold would be given to others."""
        while True:
            await asyncio.sleep(RENEW_S)
            for destination, site in list(self._sites.items()):
                async with site.lock:
                    if site.connections:
                        await self._tell(destination, site)
            now = self._sharing.clock()
            self._down = {name: down for name, down in self._down.items() if down.until + DOWN_LIMIT_S > now}
