"""`python -m smtp_out`: the outbound SMTP service."""

from __future__ import annotations

import asyncio

from mail_proto.smtp.client_actions import Login
from mail_runtime import logs
from mail_runtime.bus import Bus, BusUnavailable
from mail_runtime.health import admin_server
from mail_runtime.lifecycle import run_service
from mail_runtime.settings import settings_or_exit
from mail_runtime.store_client import StoreClient
from smtp_out.attempt import Sender
from smtp_out.consumer import Consumer
from smtp_out.destinations import Destinations
from smtp_out.names import Names
from smtp_out.plans import Planner
from smtp_out.queue import Queue
from smtp_out.routes import Routes
from smtp_out.settings import Settings
from smtp_out.sharing import Sharing
from smtp_out.sts_policies import StsPolicies
from smtp_out.table import Table, table_or_exit
from smtp_out.tls_policies import TlsPolicies
from smtp_out.tls_reports import TlsReports
from smtp_out.worker import Worker


async def run(settings: Settings, table: Table, logins: dict[str, Login], stopping: asyncio.Event) -> None:
    """Relay until `stopping` is set."""
    names = Names(settings.dns_server, validating=settings.dns_validates)
    routes = Routes(names, settings.hostname)
    planner = Planner(routes, table, logins, settings.hostname, settings.relay_port, settings.authorities)
    async with (
        StoreClient(settings.store_url, settings.service_token) as store,
        Bus(settings.nats_url, "smtp-out") as bus,
        Destinations(Sharing(bus), settings.down_s) as destinations,
        StsPolicies(names, routes, bus, settings.authorities) as sts,
    ):
        reports = TlsReports(bus)

        async def ready() -> None:
            if not bus.connected:
                raise BusUnavailable("not connected to NATS")
            await store.ready()

        async with admin_server(settings.bind, settings.admin_port, ready) as health:
            sender = Sender(planner, TlsPolicies(names, sts), reports)
            worker = Worker(Queue(store), planner, destinations, sender, settings.lease_s)
            async with asyncio.TaskGroup() as group:
                group.create_task(health.open_until(stopping))
                group.create_task(reports.run(stopping))
                group.create_task(Consumer(bus, worker, settings.concurrency).run(stopping))


def main() -> None:
    """Entry point."""
    settings = settings_or_exit(Settings)
    logs.configure("smtp-out", settings.log_level)
    table, logins = table_or_exit(settings.relay_file)
    run_service("smtp-out", lambda stopping: run(settings, table, logins, stopping))


if __name__ == "__main__":
    main()
