"""Listeners of smtp-in: opened together, closed together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import structlog

from mail_runtime.accepting import accepting, balancer_networks
from mail_runtime.connections import Connections
from mail_runtime.tls import ServerContext, reloading, server_context
from smtp_in.connection import Connection, Shared
from smtp_in.listener import Listener
from smtp_in.settings import Settings

log = structlog.get_logger()

# A message that is being stored may finish; the process ends within 10 s of SIGTERM.
STOP_GRACE_S: Final = 8.0


def listeners(settings: Settings, tls: ServerContext | None) -> list[Listener]:
    """The doors that these settings open."""
    doors = [
        Listener("mx", settings.smtp_port, tls),
        Listener("submission", settings.submission_port, tls, submission=True),
        Listener("lmtp", settings.lmtp_port, tls, lmtp=True),
    ]
    if tls is not None:
        doors.append(Listener("submissions", settings.submissions_port, tls, implicit_tls=True, submission=True))
    return doors


@asynccontextmanager
async def serve(settings: Settings, shared: Shared) -> AsyncIterator[dict[str, int]]:
    """Listen while the block runs; yields the port of each listener by name (port 0 takes a free one).

    Raises OSError, ssl.SSLError: a port, or the certificate can't be used.
    """
    context = server_context(settings.tls_certificate, settings.tls_key)
    loop = asyncio.get_running_loop()
    connections = Connections(settings.max_connections)

    def opened(task: asyncio.Task[None], connection: Connection) -> bool:
        has_room = not connections.is_full and not connections.stopping
        connections.add(task, connection)
        return has_room

    balancers = balancer_networks(settings.proxy_protocol_from)
    ports: dict[str, int] = {}
    try:
        async with reloading(context), AsyncExitStack() as stack:
            for listener in listeners(settings, context):
                tls = listener.tls if listener.implicit_tls else None

                def make(client: str | None, listener: Listener = listener) -> Connection:
                    return Connection(listener, shared, opened, loop, client)

                door = accepting(settings.bind, listener.port, tls, balancers, make)
                ports[listener.name] = await stack.enter_async_context(door)
            log.info("listening", bind=settings.bind, **ports)
            yield ports
    finally:
        await connections.stop_all(
            STOP_GRACE_S, lambda late: log.warning("connections_cut", connections=late), settings.drain_s
        )
