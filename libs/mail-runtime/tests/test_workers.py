"""Several processes on one port: they share it, are started again, and leave with the first one."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from postroom_cli.launcher.config import free_port

SERVICE = """
import asyncio, os, sys
from mail_runtime.health import admin_server
from mail_runtime.lifecycle import run_service

async def ready():
    raise RuntimeError(str(os.getpid()))

async def serve(stopping):
    async with admin_server("127.0.0.1", int(sys.argv[1]), ready) as health:
        await health.open_until(stopping)

run_service("example", serve)
"""


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """A service with two workers that tell their process id, and its port."""
    program = tmp_path / "service.py"
    program.write_text(SERVICE)
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(program), str(port), env={**os.environ, "WORKERS": "2"}
    )
    yield process, port
    if process.returncode is None:
        process.terminate()
    await process.wait()


async def seen(port: int) -> int | None:
    """The process that answers a new connection; None: nobody does."""
    url = f"http://127.0.0.1:{port}/readyz"
    try:
        async with aiohttp.request("GET", url, headers={"Connection": "close"}) as response:
            said = (await response.text()).rpartition(" ")[2].strip()
            return int(said) if said.isdecimal() else None
    except aiohttp.ClientError:
        return None


async def wait_for(port: int, *, without: int = 0) -> set[int]:
    """Two processes that answer."""
    found: set[int] = set()
    async with asyncio.timeout(60):
        while len(found) < 2:
            process = await seen(port)
            if process not in (None, without):
                found.add(process)  # type: ignore[arg-type]
            await asyncio.sleep(0.01)
    return found


async def test_workers_share_a_port_and_are_started_again(service: tuple[asyncio.subprocess.Process, int]) -> None:
    process, port = service
    first = await wait_for(port)
    assert process.pid not in first
    victim = min(first)
    os.kill(victim, signal.SIGKILL)
    assert max(first) in await wait_for(port, without=victim)
    async with aiohttp.request("GET", f"http://127.0.0.1:{port}/metrics") as response:
        assert response.status == 200
    process.terminate()
    async with asyncio.timeout(30):
        assert await process.wait() == 0
    assert await seen(port) is None


async def test_workers_leave_when_the_first_process_is_killed(
    service: tuple[asyncio.subprocess.Process, int],
) -> None:
    process, port = service
    await wait_for(port)
    process.kill()
    await process.wait()
    async with asyncio.timeout(30):
        while await seen(port) is not None:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("number", ["0", "many", "1000"])
async def test_a_wrong_number_stops_the_start_with_a_sentence(tmp_path: Path, number: str) -> None:
    program = tmp_path / "service.py"
    program.write_text(SERVICE)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(program),
        "1",
        env={**os.environ, "WORKERS": number},
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert b"write 1 to 64" in errors


async def test_workers_that_cannot_start_end_the_service(tmp_path: Path) -> None:
    program = tmp_path / "service.py"
    program.write_text(SERVICE.replace("int(sys.argv[1])", "-1"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(program), env={**os.environ, "WORKERS": "2"}, stderr=asyncio.subprocess.DEVNULL
    )
    async with asyncio.timeout(30):
        assert await process.wait() != 0
