"""`python -m smtp_in`: the inbound SMTP service."""

from __future__ import annotations

import asyncio

from mail_runtime import logs
from mail_runtime.bus import Bus
from mail_runtime.health import admin_server
from mail_runtime.lifecycle import run_service
from mail_runtime.settings import settings_or_exit
from mail_runtime.store_client import StoreClient
from smtp_in.connection import Shared
from smtp_in.directory import watch_directory
from smtp_in.policy.opening import policy_of
from smtp_in.policy.settings import PolicySettings
from smtp_in.recipients import Recipients
from smtp_in.server import serve
from smtp_in.settings import Settings


async def run(settings: Settings, allowed: PolicySettings, stopping: asyncio.Event) -> None:
    """Serve until `stopping` is set."""
    async with (
        StoreClient(settings.store_url, settings.service_token, settings.lookup_timeout_s) as store,
        Bus(settings.nats_url, "smtp-in") as bus,
        policy_of(allowed, settings.hostname, store) as policy,
    ):
        recipients = Recipients(store)
        watch_directory(bus, recipients)
        shared = Shared(settings, store, recipients, policy.screen)
        async with admin_server(settings.bind, settings.admin_port, store.ready) as health, serve(settings, shared):
            await health.open_until(stopping)


def main() -> None:
    """Entry point."""
    settings, allowed = settings_or_exit(Settings), settings_or_exit(PolicySettings)
    logs.configure("smtp-in", settings.log_level)
    run_service("smtp-in", lambda stopping: run(settings, allowed, stopping))


if __name__ == "__main__":
    main()
