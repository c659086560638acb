"""The doors of imap."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from imap.connection import Connection
from imap.session import Shared
from imap.settings import Settings
from mail_runtime.accepting import balancer_networks
from mail_runtime.listeners import Door, listening
from mail_runtime.tls import reloading, server_context


@asynccontextmanager
async def serve(settings: Settings, shared: Shared) -> AsyncIterator[dict[str, int]]:
    """Listen while the block runs; yields the port of each door. Raises OSError: a port or the certificate."""
    tls = server_context(settings.tls_certificate, settings.tls_key)
    doors = {"imap": Door(settings.imap_port)}
    if tls is not None:
        doors["imaps"] = Door(settings.imaps_port, tls)
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
