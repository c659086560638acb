"""Start the store: `python -m store_api`; or only bring the schema up to date: `python -m store_api migrate`."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Final

import structlog
import uvicorn

from mail_runtime import logs
from mail_runtime.background import keep_running
from mail_runtime.bus import Bus
from mail_runtime.contracts.errors import Unavailable
from mail_runtime.health import Health, admin_server
from mail_runtime.lifecycle import run_service, settle_memory
from mail_runtime.settings import settings_or_exit
from mail_runtime.workers import is_worker
from store_api import measuring, sweeping
from store_api.api.app import create_faces
from store_api.blobs.opening import open_blobs
from store_api.db.engine import Database
from store_api.db.migrate import migrate
from store_api.events.notifier import Notifier
from store_api.events.publisher import Publisher
from store_api.queue import overdue
from store_api.queue.dispatcher import Dispatcher
from store_api.search.indexer import Indexer
from store_api.settings import MigrationSettings, Settings
from store_api.store import Store

log = structlog.get_logger()

# So long a start waits for NATS; what is changed without it is told once it is there.
NATS_WAIT_S: Final = 3.0
RETRY_S: Final = 0.25
GRACEFUL_STOP_S: Final = 8
BACKLOG: Final = 1024
# How long `migrate` waits for a database that doesn't answer.
MIGRATION_PATIENCE_S: Final = 60


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: `run_service` has its own."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _prepare(store: Store) -> None:
    """Migrate and make the bucket; whatever isn't there yet is waited for."""
    while True:
        try:
            if store.settings.migrate_on_start:
                await migrate(store.database.url)
            await store.ready()
            return
        except Unavailable as error:
            log.info("waiting", error=str(error), cause=repr(error.__cause__))
            await asyncio.sleep(RETRY_S)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Store]:
    database = Database(settings.database_url)
    blobs = open_blobs(settings, database)
    async with Bus(settings.nats_url, "store-api") as bus:
        publisher = Publisher(database, bus, f"//{settings.hostname}/store-api")
        indexer = Indexer(database, blobs, bus)
        dispatcher = Dispatcher(database, bus, settings.relay_window)
        store = Store(settings, database, blobs, Notifier(bus), dispatcher, publisher, indexer)
        # What is changed before there is a connection is heard by nobody: frontends would take old news for new.
        with suppress(TimeoutError):
            await asyncio.wait_for(bus.wait_connected(), NATS_WAIT_S)
        try:
            yield store
        finally:
            await store.close()


def _background(store: Store) -> dict[str, Callable[[], Awaitable[None]]]:
    """What runs beside the requests, by name."""
    return {
        "coalescer": store.coalescer.run,
        "dispatcher": store.dispatcher.run,
        "overdue": partial(overdue.run, store.report_overdue),
        "sweeping": partial(sweeping.run, store.database),
        "measuring": partial(measuring.keep_measuring, store.database, store.publisher.bus),
        "publisher": store.publisher.run,
        "webhooks": store.teller.run,
        "removal": store.removal.run,
        "indexer": store.indexer.run,
        "retention": store.retention.run,
        "collector": store.collector.run,
    }


async def _serve_until(stopping: asyncio.Event, health: Health, store: Store, listeners: list[socket.socket]) -> None:
    await _prepare(store)
    server = _Server(
        uvicorn.Config(
            create_faces(store),
            log_config=None,
            access_log=False,
            loop="none",
            http="httptools",
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=GRACEFUL_STOP_S,
        )
    )
    settle_memory()
    async with asyncio.TaskGroup() as group:
        background = [
            group.create_task(keep_running(name, work), name=name) for name, work in _background(store).items()
        ]
        serving = group.create_task(server.serve(sockets=listeners), name="http")
        await health.open_until(stopping)
        store.streams.close()
        server.should_exit = True
        await serving
        for task in background:
            task.cancel()


async def serve(settings: Settings, stopping: asyncio.Event) -> None:
    """Serve until `stopping` is set; requests under way are finished."""
    ports = [settings.port, settings.public_port] if settings.public_port else [settings.port]
    listeners = [socket.create_server((settings.bind, port), backlog=BACKLOG, reuse_port=is_worker()) for port in ports]
    async with _opened(settings) as store, admin_server(settings.bind, settings.admin_port, store.ready) as health:
        serving = asyncio.create_task(_serve_until(stopping, health, store, listeners), name="serve")
        waiting = asyncio.create_task(stopping.wait(), name="stopping")
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        try:
            async with asyncio.timeout(GRACEFUL_STOP_S + 1):
                await serving
        except TimeoutError:
            log.info("stopped_while_waiting")


async def _migrate(settings: MigrationSettings) -> None:
    """Raises Unavailable: the database didn't answer for a minute."""
    async with asyncio.timeout(MIGRATION_PATIENCE_S) as patience:
        while True:
            try:
                # What runs is let run: only waiting for the database is bounded.
                await migrate(settings.database_url, started=lambda: patience.reschedule(None))
                return
            except Unavailable as error:
                log.info("waiting", error=str(error), cause=repr(error.__cause__))
                await asyncio.sleep(RETRY_S)


def _main_migrate() -> None:
    settings = settings_or_exit(MigrationSettings)
    logs.configure("store-api", settings.log_level)
    try:
        asyncio.run(_migrate(settings))
    except TimeoutError:
        sys.exit("migrate: the database doesn't answer: look at DATABASE_URL, and whether it runs")


def main() -> None:
    """Entry of the process."""
    if sys.argv[1:] == ["migrate"]:
        _main_migrate()
        return
    if sys.argv[1:]:
        sys.exit("usage: python -m store_api [migrate]")
    settings = settings_or_exit(Settings)
    logs.configure("store-api", settings.log_level)
    run_service("store-api", lambda stopping: serve(settings, stopping))


if __name__ == "__main__":
    main()
