"""Running programs: started together, restarted with back-off when they die, stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from postroom_cli.launcher.config import LaunchError
from postroom_cli.launcher.programs import Program

FIRST_PAUSE_S: Final = 0.5
MAX_PAUSE_S: Final = 15.0
# A program that ran this long starts again at the first pause.
STEADY_S: Final = 30.0
STOP_TIMEOUT_S: Final = 15.0
READY_POLL_S: Final = 0.05
LAST_LINES: Final = 12
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None)


def _die_with_parent() -> None:
    """Runs in the child: a launcher that is killed takes its programs along (Linux)."""
    with contextlib.suppress(AttributeError):
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Supervised:
    """One program, kept running until it is stopped."""

    def __init__(self, program: Program, log: Path, report: Callable[[str], None]) -> None:
        self.program, self.log, self._report = program, log, report
        self.process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Start it again and again until `stop`."""
        self._stopping.clear()
        pause_s = FIRST_PAUSE_S
        while not self._stopping.is_set():
            started = time.monotonic()
            await self._start()
            assert self.process is not None
            code = await self.process.wait()
            if self._stopping.is_set():
                return
            if time.monotonic() - started > STEADY_S:
                pause_s = FIRST_PAUSE_S
            self._report(
                f"{self.program.name} ended with code {code}; starting it again in {pause_s:g} s. Its last lines:\n"
                + "".join(f"    {line}\n" for line in self.last_lines())
            )
            await asyncio.sleep(pause_s)
            pause_s = min(MAX_PAUSE_S, pause_s * 2)

    async def _start(self) -> None:
        uid = self.program.uid
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.program.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(self.program.environ),
                start_new_session=True,
                preexec_fn=_die_with_parent,
                user=uid,
                group=uid,
                extra_groups=None if uid is None else [],
                cwd="/" if uid is not None else None,
            )

    def last_lines(self) -> list[str]:
        """The end of its log."""
        try:
            with self.log.open(errors="replace") as log:
                return [line.rstrip("\n") for line in deque(log, LAST_LINES)]
        except FileNotFoundError:
            return []

    async def stop(self) -> None:
        """Ask it to end; kill it when it doesn't."""
        self._stopping.set()
        if self.process is None or self.process.returncode is not None:
            return
        self.process.send_signal(self.program.stop_signal)
        try:
            await asyncio.wait_for(self.process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            self._report(f"{self.program.name} didn't end within {STOP_TIMEOUT_S:g} s: killed")
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            await self.process.wait()


class Supervisor:
    """Use as `async with Supervisor(programs, logs, report) as running`."""

    def __init__(self, programs: Sequence[Program], logs: Path, report: Callable[[str], None]) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self.supervised = {p.name: Supervised(p, logs / f"{p.name}.log", report) for p in programs}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Supervisor:
        for name in self.supervised:
            self.start(name)
        return self

    def start(self, name: str) -> None:
        """Run one program, which isn't running, from now on."""
        self._tasks[name] = asyncio.create_task(self.supervised[name].run(), name=name)

    async def stop(self, name: str) -> None:
        """Stop one program and leave it so."""
        await self.supervised[name].stop()
        self._tasks[name].cancel()
        await asyncio.gather(self._tasks[name], return_exceptions=True)

    async def __aexit__(self, *error: object) -> None:
        for stage in sorted({s.program.stage for s in self.supervised.values()}, reverse=True):
            names = [name for name, s in self.supervised.items() if s.program.stage == stage]
            await asyncio.gather(*(self.stop(name) for name in names))

    async def wait_ready(self, timeout_s: float, on_ready: Callable[[str], None]) -> None:
        """Return when all serve. Raises LaunchError: one doesn't in time, or can't be started."""
        try:
            async with asyncio.timeout(timeout_s):
                for supervised in self.supervised.values():
                    await self._wait_ready(supervised, on_ready)
        except TimeoutError:
            silent = [s for s in self.supervised.values() if not await s.program.ready()]
            lines = "\n".join(f"    {s.program.name}: {line}" for s in silent for line in s.last_lines())
            names = ", ".join(s.program.name for s in silent)
            raise LaunchError(f"not ready after {timeout_s:g} s: {names}\n{lines}") from None

    async def _wait_ready(self, supervised: Supervised, on_ready: Callable[[str], None]) -> None:
        while not await supervised.program.ready():
            for task in self._tasks.values():
                if task.done() and not task.cancelled() and (error := task.exception()):
                    raise LaunchError(f"{task.get_name()} can't be started: {error}")
            await asyncio.sleep(READY_POLL_S)
        on_ready(supervised.program.name)
