"""Start and stop of a process: uvloop, SIGTERM and SIGINT, exit codes."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable

import structlog
import uvloop

log = structlog.get_logger()


def run_service(name: str, serve: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run `serve(stopping)` until it returns; SIGTERM and SIGINT set `stopping`. Ends the process."""

    async def main() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        log.info("starting")
        await serve(stopping)
        log.info("stopped")

    try:
        uvloop.run(main())
    except OSError as error:
        sys.exit(f"{name}: {error}")
