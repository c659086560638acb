"""A real S3 server for tests, which can be killed and paused."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from postroom_cli.launcher import seaweedfs
from postroom_cli.launcher.programs import Program
from postroom_cli.launcher.services import script

KEY: Final = "postroom"
SECRET: Final = "postroom secret"
START_TIMEOUT_S: Final = 60.0


class RunningS3:
    """SeaweedFS as the launcher starts it. `url` is a BLOB_URL."""

    def __init__(self, program: Program, url: str, log: Path) -> None:
        self.url = url
        self._program, self._log = program, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it serves."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                list(self._program.argv), env=dict(self._program.environ), stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not asyncio.run(_ready(self._program)):
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"SeaweedFS doesn't start: {self._log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)

    @property
    def process_id(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """`kill -9`."""
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Connections are taken, and nothing is answered, while the block runs."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()


async def _ready(program: Program) -> bool:
    return await program.ready()


@contextmanager
def run_s3(directory: Path) -> Iterator[RunningS3]:
    """Run one on free ports while the block runs."""
    program, url = seaweedfs.prepare(directory, script("weed"), KEY, SECRET)
    server = RunningS3(program, url, directory / "seaweedfs.log")
    try:
        server.start()
        yield server
    finally:
        server.stop()
