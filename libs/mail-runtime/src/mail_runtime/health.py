"""The admin port: /healthz (the process lives), /readyz (it can serve), /metrics (Prometheus)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import prometheus_client
from aiohttp import web
from prometheus_client import multiprocess

from mail_runtime.workers import is_worker

READY_TIMEOUT_S: Final = 5.0

Probe = Callable[[], Awaitable[None]]


def _registry() -> prometheus_client.CollectorRegistry:
    """What is counted: here, or by all workers together."""
    if not is_worker():
        return prometheus_client.REGISTRY
    registry = prometheus_client.CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


@asynccontextmanager
async def admin_server(host: str, port: int, ready: Probe) -> AsyncIterator[None]:
    """Serve the admin port while the block runs. `ready` raises when the service can't serve."""

    async def healthz(request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(request: web.Request) -> web.Response:
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
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, reuse_port=is_worker() or None).start()
        yield
    finally:
        await runner.cleanup()
