"""SMTP servers that take everything, in a process of their own, as lean as can be: where a relay sends to.

They stand on 127.0.1.0, 127.0.1.1 and so on, all on one port. One may take its time for each message, one may be dead:
it accepts connections and never says a word.
"""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.synchronize import Event
from typing import Any, Final, cast

import uvloop

from postroom_cli.launcher.config import free_port

START_TIMEOUT_S: Final = 10.0
SLOW_S: Final = 0.5
_EHLO: Final = b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n"
_END: Final = b"\r\n.\r\n"


@dataclass(frozen=True, slots=True)
class Sinks:
    """`taken`: messages of each host; `last`: when the last one came, by `time.perf_counter`."""

    port: int
    taken: Any
    last: Any

    @staticmethod
    def address(host: int) -> str:
        return f"127.0.1.{host}"


class _Dead(asyncio.Protocol):
    pass


class _Sink(asyncio.Protocol):
    """One connection; commands may come together (RFC 2920)."""

    def __init__(self, sinks: Sinks, host: int, pause_s: float) -> None:
        self._sinks, self._host, self._pause_s = sinks, host, pause_s
        self._octets = bytearray()
        self._in_data = False
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._transport.write(b"220 sink\r\n")

    def data_received(self, octets: bytes) -> None:
        searched = max(0, len(self._octets) - len(_END))
        self._octets += octets
        replies = b""
        while True:
            if self._in_data:
                # The reply to DATA was CRLF-ended, so a message that is empty begins with the dot.
                end = self._octets.find(_END, searched) if self._octets[:3] != b".\r\n" else -2
                if end == -1:
                    break
                del self._octets[: end + len(_END)]
                self._in_data = False
                self._took()
            else:
                line, found, _ = self._octets.partition(b"\r\n")
                if not found:
                    break
                del self._octets[: len(line) + 2]
                replies += self._answer(bytes(line[:4]).upper())
            searched = 0
        if replies:
            self._write(replies)

    def _answer(self, verb: bytes) -> bytes:
        if verb == b"EHLO":
            return _EHLO
        if verb == b"DATA":
            self._in_data = True
            return b"354 go\r\n"
        return b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n"

    def _took(self) -> None:
        if self._pause_s:
            asyncio.get_running_loop().call_later(self._pause_s, self._count)
        else:
            self._count()

    def _count(self) -> None:
        self._sinks.taken[self._host] += 1
        self._sinks.last[self._host] = time.perf_counter()
        self._write(b"250 2.0.0 taken\r\n")

    def _write(self, octets: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(octets)


async def _serve(sinks: Sinks, slow: int, dead: int, up: Event) -> None:
    loop = asyncio.get_running_loop()
    for host in range(len(sinks.taken)):
        protocol = _Dead if host == dead else partial(_Sink, sinks, host, SLOW_S if host == slow else 0.0)
        await loop.create_server(protocol, Sinks.address(host), sinks.port)
    up.set()
    await asyncio.Event().wait()


def _run(sinks: Sinks, slow: int, dead: int, up: Event) -> None:
    uvloop.run(_serve(sinks, slow, dead, up))


@contextmanager
def running(hosts: int, slow: int, dead: int) -> Iterator[Sinks]:
    """So many of them while the block runs. Raises RuntimeError: they don't start."""
    context = multiprocessing.get_context("spawn")
    sinks = Sinks(free_port(), context.Array(ctypes.c_long, hosts), context.Array(ctypes.c_double, hosts))
    up = context.Event()
    process = context.Process(target=_run, args=(sinks, slow, dead, up), daemon=True)
    process.start()
    try:
        if not up.wait(START_TIMEOUT_S):
            raise RuntimeError("the sinks don't start")
        yield sinks
    finally:
        process.terminate()
        process.join(START_TIMEOUT_S)
