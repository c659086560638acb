"""Senders of mail for measurements: many connections at once, as lean as can be, each waiting as a real one does.

MAIL, RCPT and DATA go in one packet, as MTAs send them (RFC 2920); then the data. Replies are only counted and looked
at for errors. *kept*: one connection for all its messages; *each*: a connection per message, EHLO and QUIT included.
"""

from __future__ import annotations

import asyncio
import time
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast

import uvloop

HOST: Final = "127.0.0.1"
REPLY_TIMEOUT_S: Final = 60.0
SENDER: Final = "bench@sender.test"
# At the same time; a password is dear to check.
LOGINS: Final = 4

Way = Literal["kept", "each"]


@dataclass(frozen=True, slots=True)
class Load:
    """What one connection sends: pairs of a recipient and a message ready for the wire (`wired`).

    `password`: the sender is an account's and logs in.
    """

    letters: Sequence[tuple[str, bytes]]
    sender: str = SENDER
    password: str | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """Seconds until the last 250, and those of each message from MAIL (or from connecting) to its 250."""

    elapsed_s: float
    latencies_s: list[float]


def wired(message: bytes) -> bytes:
    """As it goes behind 354: dots doubled, with the end (RFC 5321 §4.5.2)."""
    stuffed = message.replace(b"\r\n.", b"\r\n..")
    return (b"." + stuffed if stuffed.startswith(b".") else stuffed) + b".\r\n"


class _Client(asyncio.Protocol):
    """Counts final lines of replies."""

    def __init__(self) -> None:
        self._octets = b""
        self._replies: asyncio.Queue[bytes] = asyncio.Queue()
        self.transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)  # uvloop's is none by name

    def data_received(self, octets: bytes) -> None:
        *lines, self._octets = (self._octets + octets).split(b"\r\n")
        for line in lines:
            if line[3:4] != b"-":
                self._replies.put_nowait(line)

    def connection_lost(self, error: Exception | None) -> None:
        self._replies.put_nowait(b"the connection ended")

    async def ask(self, octets: bytes, *codes: bytes) -> None:
        """Send them and wait for one reply per code. Raises AssertionError, TimeoutError."""
        assert self.transport is not None
        self.transport.write(octets)
        async with asyncio.timeout(REPLY_TIMEOUT_S):
            for code in codes:
                reply = await self._replies.get()
                assert reply.startswith(code), reply


async def _connect(load: Load, port: int, source: str, logins: asyncio.Semaphore) -> _Client:
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(_Client, HOST, port, local_addr=(source, 0))
    await client.ask(b"", b"220")
    await client.ask(b"EHLO sender.test\r\n", b"250")
    if load.password is not None:
        secret = f"\0{load.sender}\0{load.password}".encode()
        async with logins:
            await client.ask(b"AUTH PLAIN " + b64encode(secret) + b"\r\n", b"235")
    return client


async def _quit(client: _Client) -> None:
    await client.ask(b"QUIT\r\n", b"221")
    assert client.transport is not None
    client.transport.close()


async def _send(load: Load, port: int, source: str, way: Way, logins: asyncio.Semaphore) -> list[float]:
    latencies: list[float] = []
    client = await _connect(load, port, source, logins) if way == "kept" else None
    for recipient, letter in load.letters:
        started = time.perf_counter()
        one = client or await _connect(load, port, source, logins)
        envelope = f"MAIL FROM:<{load.sender}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode()
        await one.ask(envelope, b"250", b"250", b"354")
        await one.ask(letter, b"250")
        latencies.append(time.perf_counter() - started)
        if client is None:
            await _quit(one)
    if client is not None:
        await _quit(client)
    return latencies


def send_all(loads: Sequence[Load], port: int, source: str, way: Way) -> Sent:
    """Send all loads at once from that address of this machine. Raises what went wrong."""

    async def send() -> Sent:
        started = time.perf_counter()
        logins = asyncio.Semaphore(LOGINS)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_send(load, port, source, way, logins)) for load in loads]
        elapsed = time.perf_counter() - started
        return Sent(elapsed, [latency for task in tasks for latency in task.result()])

    return uvloop.run(send())
