"""`python -m imap`: the IMAP service."""

from __future__ import annotations

import asyncio

from imap.server import serve
from imap.session import Shared
from imap.settings import Settings
from imap.watches import Watches
from mail_runtime import logs
from mail_runtime.bus import Bus
from mail_runtime.health import admin_server
from mail_runtime.lifecycle import run_service
from mail_runtime.settings import settings_or_exit
from mail_runtime.store_client import StoreClient


async def run(settings: Settings, stopping: asyncio.Event) -> None:
    """Serve until `stopping` is set."""
    async with (
        StoreClient(settings.store_url, settings.service_token) as store,
        Bus(settings.nats_url, "imap") as bus,
    ):
        shared = Shared.of(settings, store, Watches(bus))
        async with admin_server(settings.bind, settings.admin_port, store.ready) as health, serve(settings, shared):
            await health.open_until(stopping)


def main() -> None:
    """Entry point."""
    settings = settings_or_exit(Settings)
    logs.configure("imap", settings.log_level)
    run_service("imap", lambda stopping: run(settings, stopping))


if __name__ == "__main__":
    main()
