"""Start and stop of a process: uvloop, SIGTERM and SIGINT, exit codes."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
import uvloop

from mail_runtime import workers
from mail_runtime.exporting import exporting

log = structlog.get_logger()

# New container objects between two runs of the cycle collector. Python's 700 are reached by one message here, and
# what a message leaves behind is freed by counting; measured: a tenth of the store's CPU while mail comes in.
GC_THRESHOLDS: Final = (20_000, 20, 20)


def settle_memory() -> None:
    """Call once all that lives as long as the process is there: the cycle collector needn't look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def run_service(name: str, serve: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run `serve(stopping)` until it returns; SIGTERM and SIGINT set `stopping`. Ends the process.

    With `WORKERS=n` in n processes (`mail_runtime.workers`).
    """
    if number := workers.wanted():
        sys.exit(uvloop.run(workers.supervise(number)))

    async def main() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        workers.stop_with_parent(stopping)
        log.info("starting")
        settle_memory()
        with exporting(name):
            await serve(stopping)
        log.info("stopped")

    try:
        uvloop.run(main())
    except OSError as error:
        sys.exit(f"{name}: {error}")
