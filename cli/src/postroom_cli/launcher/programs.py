"""A program that the launcher runs: how it is started, how one sees that it serves, how it is stopped."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp

from postroom_cli.launcher.config import HOST

Probe = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Program:
    """`stage` orders the stop: higher ones go first. `uid`: run as this user (only root can)."""

    name: str
    argv: Sequence[str]
    ready: Probe
    stage: int
    environ: Mapping[str, str] = field(default_factory=dict)
    uid: int | None = None
    stop_signal: signal.Signals = signal.SIGTERM


def listens(port: int) -> Probe:
    """Whether a TCP connection can be made."""

    async def probe() -> bool:
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            return False
        writer.close()
        await writer.wait_closed()
        return True

    return probe


def answers(url: str) -> Probe:
    """Whether a GET is answered with success."""

    async def probe() -> bool:
        try:
            async with aiohttp.ClientSession() as http, http.get(url, timeout=aiohttp.ClientTimeout(5)) as response:
                return response.status < 300
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    return probe
