"""The admin port of a process, from before it serves until after its last connection has ended.

/healthz: it lives. /openz: it takes new connections, which ends when it is told to stop. /readyz: what is behind it
answers, too. /metrics: Prometheus.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, Literal

import prometheus_client
from aiohttp import web
from prometheus_client import multiprocess

from mail_runtime.workers import is_worker

READY_TIMEOUT_S: Final = 5.0

Probe = Callable[[], Awaitable[None]]
Phase = Literal["starting", "open", "stopping"]


class Health:
    """How far the process is, for who asks its admin port."""

    def __init__(self) -> None:
        self.phase: Phase = "starting"

    async def open_until(self, stopping: asyncio.Event) -> None:
        """Call when the service takes connections; returns once `stopping` is set, and it takes no more."""
        self.phase = "open"
        await stopping.wait()
        self.phase = "stopping"


def _registry() -> prometheus_client.CollectorRegistry:
    """What is counted: here, or by all workers together."""
    if not is_worker():
        return prometheus_client.REGISTRY
    registry = prometheus_client.CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


@asynccontextmanager
async def admin_server(host: str, port: int, ready: Probe) -> AsyncIterator[Health]:
    """Serve the admin port while the block runs. `ready` raises when what is behind the service can't serve."""
    health = Health()

    async def healthz(request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def openz(request: web.Request) -> web.Response:
        return web.Response(status=200 if health.phase == "open" else 503, text=f"{health.phase}\n")

    async def readyz(request: web.Request) -> web.Response:
        if health.phase != "open":
            return web.Response(status=503, text=f"not ready: {health.phase}\n")
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                await ready()
        except Exception as error:  # a probe reports whatever is wrong
            return web.Response(status=503, text=f"not ready: {error}\n")
        return web.Response(text="ready\n")

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(
            body=prometheus_client.generate_latest(_registry()),
            headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST},
        )

    app = web.Application()
    pages = {"/healthz": healthz, "/openz": openz, "/readyz": readyz, "/metrics": metrics}
    app.add_routes([web.get(path, page) for path, page in pages.items()])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, reuse_port=is_worker() or None).start()
        yield health
    finally:
        await runner.cleanup()
