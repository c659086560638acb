"""Listeners of pop3: opened together, closed together."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import structlog

from mail_runtime.connections import Connections
from mail_runtime.tls import server_context
from pop3.connection import Connection, Shared
from pop3.settings import Settings

log = structlog.get_logger()

BACKLOG: Final = 1024
READ_LIMIT_OCTETS: Final = 16_384
TLS_HANDSHAKE_TIMEOUT_S: Final = 30.0
# A command under way may finish; the process ends within 10 s of SIGTERM.
STOP_GRACE_S: Final = 8.0

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serve(settings: Settings, shared: Shared) -> AsyncIterator[dict[str, int]]:
    """Listen while the block runs; yields the port of each listener by name (port 0 takes a free one)."""
    tls = server_context(settings.tls_certificate, settings.tls_key)
    connections = Connections(settings.max_connections)

    def handler(*, secure: bool) -> Handler:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            is_full = connections.is_full or connections.stopping
            connection = Connection(reader, writer, shared, tls, secure=secure)
            connections.add(task, connection)
            await connection.run(is_full=is_full)

        return handle

    servers: dict[str, asyncio.Server] = {}
    try:
        servers["pop3"] = await _listen(handler(secure=False), settings.bind, settings.pop3_port, None)
        if tls is not None:
            servers["pop3s"] = await _listen(handler(secure=True), settings.bind, settings.pop3s_port, tls)
        ports = {name: server.sockets[0].getsockname()[1] for name, server in servers.items()}
        log.info("listening", bind=settings.bind, **ports)
        yield ports
    finally:
        for server in servers.values():
            server.close()
        await connections.stop_all(STOP_GRACE_S, lambda late: log.warning("connections_cut", connections=late))


async def _listen(handle: Handler, host: str, port: int, tls: ssl.SSLContext | None) -> asyncio.Server:
    return await asyncio.start_server(
        handle,
        host,
        port,
        ssl=tls,
        limit=READ_LIMIT_OCTETS,
        backlog=BACKLOG,
        ssl_handshake_timeout=TLS_HANDSHAKE_TIMEOUT_S if tls else None,
    )
