"""`python -m pop3`: the POP3 service."""

from __future__ import annotations

import asyncio

from mail_runtime import logs
from mail_runtime.background import keep_running
from mail_runtime.health import admin_server
from mail_runtime.lifecycle import run_service
from mail_runtime.settings import settings_or_exit
from mail_runtime.store_client import StoreClient
from pop3.locks import Locks
from pop3.server import serve
from pop3.settings import Settings
from pop3.shared import Shared


async def run(settings: Settings, stopping: asyncio.Event) -> None:
    """Serve until `stopping` is set."""
    async with StoreClient(settings.store_url, settings.service_token) as store:
        locks = Locks(store)
        shared = Shared(settings, store, locks)
        keeping = asyncio.create_task(keep_running("maildrop-locks", locks.run), name="maildrop-locks")
        try:
            async with admin_server(settings.bind, settings.admin_port, store.ready) as health, serve(settings, shared):
                await health.open_until(stopping)
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)


def main() -> None:
    """Entry point."""
    settings = settings_or_exit(Settings)
    logs.configure("pop3", settings.log_level)
    run_service("pop3", lambda stopping: run(settings, stopping))


if __name__ == "__main__":
    main()
