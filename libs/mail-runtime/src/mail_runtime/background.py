"""Work in the background that goes on after an error, so that one bad row can't end a process that serves others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from prometheus_client import Counter

log = structlog.get_logger()

FAILURES: Final = Counter(
    "postroom_background_failures", "Times that work in the background ended by an error and was begun again", ["work"]
)

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0


async def keep_running(name: str, work: Callable[[], Awaitable[None]], first_pause_s: float = FIRST_PAUSE_S) -> None:
    """Run `work()` until it returns or is cancelled; after an error again, with pauses that double up to a minute.

    An error is logged with its traceback and counted. What ran for longer than the longest pause starts with the first
    pause again.
    """
    loop = asyncio.get_running_loop()
    pause_s = first_pause_s
    while True:
        began = loop.time()
        try:
            await work()
        except Exception:
            FAILURES.labels(name).inc()
            if loop.time() - began > LONGEST_PAUSE_S:
                pause_s = first_pause_s
            log.exception("background_failed", work=name, again_in_s=pause_s)
        else:
            return
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
