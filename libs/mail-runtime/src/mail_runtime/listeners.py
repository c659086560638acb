"""Listening sockets of a service whose connections read and write streams: opened together, closed together."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from mail_runtime.connections import Connections, Stoppable
from mail_runtime.workers import is_worker

log = structlog.get_logger()

BACKLOG: Final = 1024
READ_LIMIT_OCTETS: Final = 65_536
TLS_HANDSHAKE_TIMEOUT_S: Final = 30.0
# What is under way may finish; the process ends within 10 s of SIGTERM.
STOP_GRACE_S: Final = 8.0


@dataclass(frozen=True, slots=True)
class Door:
    """One port; `tls` is set where the handshake comes first (RFC 8314)."""

    port: int
    tls: ssl.SSLContext | None = None


class StreamConnection(Stoppable, Protocol):
    """A connection that runs until it has said its last word."""

    async def run(self, *, is_full: bool) -> None: ...


Connect = Callable[[asyncio.StreamReader, asyncio.StreamWriter, bool], StreamConnection]
_Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(
    host: str, doors: Mapping[str, Door], max_connections: int, connect: Connect
) -> AsyncIterator[dict[str, int]]:
    """Listen while the block runs; yields the port of each door by name (port 0 takes a free one).

    `connect(reader, writer, is_secure)` makes a connection, in the task that will run it.
    """
    connections = Connections(max_connections)
    servers: dict[str, asyncio.Server] = {}
    try:
        for name, door in doors.items():
            servers[name] = await asyncio.start_server(
                _handler(connections, connect, is_secure=door.tls is not None),
                host,
                door.port,
                ssl=door.tls,
                limit=READ_LIMIT_OCTETS,
                backlog=BACKLOG,
                reuse_port=is_worker() or None,
                ssl_handshake_timeout=TLS_HANDSHAKE_TIMEOUT_S if door.tls else None,
            )
        ports = {name: server.sockets[0].getsockname()[1] for name, server in servers.items()}
        log.info("listening", bind=host, **ports)
        yield ports
    finally:
        for server in servers.values():
            server.close()
        await connections.stop_all(STOP_GRACE_S, lambda late: log.warning("connections_cut", connections=late))


def _handler(connections: Connections, connect: Connect, *, is_secure: bool) -> _Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        is_full = connections.is_full or connections.stopping
        connection = connect(reader, writer, is_secure)
        connections.add(task, connection)
        await connection.run(is_full=is_full)

    return handle
