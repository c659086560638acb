"""The doors of pop3."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mail_runtime.accepting import balancer_networks
from mail_runtime.listeners import Door, listening
from mail_runtime.tls import reloading, server_context
from pop3.connection import Connection
from pop3.settings import Settings
from pop3.shared import Shared


@asynccontextmanager
async def serve(settings: Settings, shared: Shared) -> AsyncIterator[dict[str, int]]:
    """Listen while the block runs; yields the port of each door. Raises OSError: a port or the certificate."""
    tls = server_context(settings.tls_certificate, settings.tls_key)
    doors = {"pop3": Door(settings.pop3_port)}
    if tls is not None:
        doors["pop3s"] = Door(settings.pop3s_port, tls)
    connections = listening(
        settings.bind,
        doors,
        settings.max_connections,
        lambda stream, client: Connection(stream, shared, tls, client),
        balancer_networks(settings.proxy_protocol_from),
        settings.drain_s,
    )
    async with reloading(tls), connections as ports:
        yield ports
