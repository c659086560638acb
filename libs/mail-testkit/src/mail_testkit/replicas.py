"""A service of one test in a thread of its own, beside the one that runs: another replica to the store."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Final

START_TIMEOUT_S: Final = 60.0

# `replica(setting=value)` starts one; its ports by name.
Replica = Callable[..., dict[str, int]]


@contextmanager
def in_thread(served: AbstractAsyncContextManager[Mapping[str, int]]) -> Iterator[dict[str, int]]:
    """What `served` yields, while it is entered in an event loop of its own. Raises what it raises."""
    ports: dict[str, int] = {}
    failed: list[BaseException] = []
    loop, up, down = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def run() -> None:
        try:
            async with served as found:
                ports.update(found)
                up.set()
                await down.wait()
        except BaseException as error:
            failed.append(error)
        finally:
            up.set()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), name="replica")
    thread.start()
    try:
        assert up.wait(START_TIMEOUT_S), "the replica doesn't start"
        if not failed:
            yield ports
    finally:
        loop.call_soon_threadsafe(down.set)
        thread.join(START_TIMEOUT_S)
        loop.close()
    if failed:
        raise failed[0]
