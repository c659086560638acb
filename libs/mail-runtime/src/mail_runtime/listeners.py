"""Listening sockets of a service whose connections read and write streams: opened together, closed together."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from mail_runtime.accepting import MakeProtocol, Networks, accepting
from mail_runtime.connections import Connections, Stoppable
from mail_runtime.streams import ClientStream

log = structlog.get_logger()

# What is under way may finish; the process ends within 10 s of SIGTERM.
STOP_GRACE_S: Final = 8.0


@dataclass(frozen=True, slots=True)
class Door:
    """One port; `tls` is set where the handshake comes first (RFC 8314)."""

    port: int
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class Client:
    """Who is connected: the address that counts, behind a balancer too, and whether TLS is there already."""

    address: str
    is_secure: bool


class StreamConnection(Stoppable, Protocol):
    """A connection that runs until it has said its last word."""

    async def run(self, *, is_full: bool) -> None: ...


Connect = Callable[[ClientStream, Client], StreamConnection]


@asynccontextmanager
async def listening(
    host: str,
    doors: Mapping[str, Door],
    max_connections: int,
    connect: Connect,
    balancers: Networks = (),
    drain_s: float = 0.0,
) -> AsyncIterator[dict[str, int]]:
    """Listen while the block runs; yields the port of each door by name (port 0 takes a free one).

    `connect(stream, client)` makes a connection, in the task that will run it. Connections from `balancers`
    begin with a PROXY header. When the block ends, connections end evenly over `drain_s`.
    """
    connections = Connections(max_connections)
    try:
        async with AsyncExitStack() as stack:
            ports: dict[str, int] = {}
            for name, door in doors.items():
                make = _protocols(connections, connect, is_secure=door.tls is not None)
                ports[name] = await stack.enter_async_context(accepting(host, door.port, door.tls, balancers, make))
            log.info("listening", bind=host, **ports)
            yield ports
    finally:
        await connections.stop_all(STOP_GRACE_S, lambda late: log.warning("connections_cut", connections=late), drain_s)


def _protocols(connections: Connections, connect: Connect, *, is_secure: bool) -> MakeProtocol:
    def make(client: str | None) -> ClientStream:
        async def serve(stream: ClientStream) -> None:
            task = asyncio.current_task()
            assert task is not None
            is_full = connections.is_full or connections.stopping
            connection = connect(stream, Client(client or peer_address(stream), is_secure))
            connections.add(task, connection)
            await connection.run(is_full=is_full)

        return ClientStream(serve)

    return make


def peer_address(transport: asyncio.BaseTransport | asyncio.StreamWriter | ClientStream) -> str:
    """Address of the other end of this very connection."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if peer else "unknown"
