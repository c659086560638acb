"""The admin port: /healthz (the process lives), /readyz (it can serve), /metrics (Prometheus)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import prometheus_client
from aiohttp import web

READY_TIMEOUT_S: Final = 5.0

Probe = Callable[[], Awaitable[None]]


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
            body=prometheus_client.generate_latest(),
            headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST},
        )

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield
    finally:
        await runner.cleanup()
