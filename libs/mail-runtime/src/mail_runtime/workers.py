"""Several processes of one service on the same ports: `WORKERS=n` (SO_REUSEPORT; docs/operations.md).

The first process starts n others of the same command, hands signals on, and starts one again that died. It serves
nothing itself. The workers listen on the same ports, and the kernel spreads connections over them. Each of them ends
when the pipe from the first process closes: nothing is left behind by a `kill -9`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from typing import Final

import structlog

log = structlog.get_logger()

WANTED: Final = "WORKERS"
_WORKER: Final = "POSTROOM_WORKER"
# prometheus_client counts over processes in files of this directory.
_METRICS: Final = "PROMETHEUS_MULTIPROC_DIR"
MAX_WORKERS: Final = 64
# What ends sooner after its start has a wrong setting, or no port: starting it again changes nothing.
EARLY_END_S: Final = 5.0
RESTART_PAUSE_S: Final = 0.5
# Workers stop by themselves within 10 s, after they have drained for as long as they are told to.
STOP_S: Final = 12.0
_DRAIN: Final = "POSTROOM_DRAIN_S"


def wanted() -> int:
    """How many workers to start; 0 in one of them, or when this process serves alone. Ends on a wrong setting."""
    text = os.environ.get(WANTED) or "1"
    if not text.isdecimal() or not 1 <= int(text) <= MAX_WORKERS:
        sys.exit(f"settings: {WANTED}={text!r} is not a number of processes: write 1 to {MAX_WORKERS}")
    return 0 if is_worker() or text == "1" else int(text)


def is_worker() -> bool:
    """Whether others listen on the same ports: then sockets are opened with `reuse_port`."""
    return _WORKER in os.environ


def stop_with_parent(stopping: asyncio.Event) -> None:
    """In a worker, set `stopping` when the first process has gone."""
    if is_worker():
        loop = asyncio.get_running_loop()

        def ended() -> None:
            if not os.read(0, 1):
                loop.remove_reader(0)
                stopping.set()

        loop.add_reader(0, ended)


async def supervise(number: int) -> int:
    """Run the workers until SIGTERM or SIGINT, or until one can't start; the exit status."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopping.set)
    metrics = await asyncio.to_thread(tempfile.mkdtemp, prefix="postroom-metrics-")
    statuses: list[int] = []

    async def keep(worker: int) -> None:
        while not stopping.is_set():
            status = await _run(worker, metrics, stopping)
            if status is not None:
                statuses.append(status)
                stopping.set()
            elif not stopping.is_set():
                await asyncio.sleep(RESTART_PAUSE_S)

    try:
        async with asyncio.TaskGroup() as group:
            for worker in range(number):
                group.create_task(keep(worker), name=f"worker-{worker}")
    finally:
        await asyncio.to_thread(shutil.rmtree, metrics, ignore_errors=True)
    return max(statuses, default=0)


async def _run(worker: int, metrics: str, stopping: asyncio.Event) -> int | None:
    """One life of a worker; its status if it ended so early that another life would be no better."""
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *sys.orig_argv[1:],
        env={**os.environ, _WORKER: str(worker), _METRICS: metrics},
        stdin=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    ended = asyncio.ensure_future(process.wait())
    stop = asyncio.ensure_future(stopping.wait())
    await asyncio.wait({ended, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if ended.done():
        status = ended.result()
        log.error("worker_ended", worker=worker, status=status)
        # One that was killed (a negative status) had no say in it.
        return (status or 1) if status >= 0 and time.monotonic() - started < EARLY_END_S else None
    process.terminate()
    try:
        async with asyncio.timeout(STOP_S + float(os.environ.get(_DRAIN) or 0)):
            await ended
    except TimeoutError:
        process.kill()
        await process.wait()
    return None
