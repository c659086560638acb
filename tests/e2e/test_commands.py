"""The commands that a newcomer types: `postroom run` and `postroom demo`, as processes of their own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil

from postroom_cli.launcher.config import PORTS, free_port

COMMAND = [sys.executable, "-m", "postroom_cli"]


@contextmanager
def started(data: Path, ports: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    environ = {**os.environ, "POSTROOM_DATA": str(data), **ports}
    with subprocess.Popen(
        [*COMMAND, "run"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environ
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=60)


def read_until(output: IO[str], pattern: str) -> str:
    """Lines up to the one that matches."""
    seen = ""
    for line in output:
        seen += line
        if re.search(pattern, line):
            return seen
    raise AssertionError(f"{pattern!r} never came:\n{seen}")


def test_run(open_directory: Path) -> None:
    ports = {name: str(free_port()) for name in PORTS}
    with started(open_directory / "data", ports) as (process, output):
        shown = read_until(output, "^postroom is ready")
        assert all(port in shown for port in ports.values())
        assert "alice@example.test or bob@example.test" in shown
        second = subprocess.run(
            [*COMMAND, "run"],
            capture_output=True,
            text=True,
            env={**os.environ, "POSTROOM_DATA": str(open_directory / "data"), **ports},
            check=False,
        )
        assert second.returncode == 1
        assert "another Postroom runs" in second.stderr
        children = psutil.Process(process.pid).children()
        next(child for child in children if "pop3" in child.cmdline()).kill()
        read_until(output, r"pop3 ended with code -9; starting it again")
        process.send_signal(signal.SIGTERM)
        read_until(output, "^stopped; all mail is kept")
        assert process.wait(60) == 0
        assert not [child for child in children if child.is_running()]


def test_a_launcher_that_is_killed_takes_its_programs_along(open_directory: Path) -> None:
    ports = {name: str(free_port()) for name in PORTS}
    with started(open_directory / "data", ports) as (process, output):
        read_until(output, "^postroom is ready")
        children = psutil.Process(process.pid).children()
        process.kill()
        _, alive = psutil.wait_procs(children, timeout=60)
        assert alive == []
    with started(open_directory / "data", ports) as (process, output):
        read_until(output, "^postroom is ready")


def test_demo() -> None:
    shown = subprocess.run([*COMMAND, "demo"], capture_output=True, text=True, check=False, timeout=240)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    for part in ("C: AUTH", "S: 235", "DNS: remote.test. MX", "C: RETR 1", "* 1 EXISTS", "Every octet arrived"):
        assert part in shown.stdout
