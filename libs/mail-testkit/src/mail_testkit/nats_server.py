"""A real NATS server for tests of one part."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path
from typing import Final

from postroom_cli.launcher.config import free_port

SERVER: Final = Path(sysconfig.get_path("scripts")) / "nats-server"


class Nats:
    """A nats-server process that can be stopped and started again on the same port and data."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [SERVER, "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", self._folder],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None
