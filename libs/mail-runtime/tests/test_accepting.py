"""Connections from balancers and from clients on the same port, with and without TLS, on both event loops."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from mail_proto.proxy_protocol import SIGNATURE
from mail_runtime.accepting import balancer_networks, is_in
from mail_runtime.listeners import Client, Door, listening
from mail_runtime.settings import SettingsError
from mail_runtime.streams import ClientStream
from mail_runtime.tls import server_context
from postroom_cli.launcher.certificate import kept_certificate

LIMIT_S = 20.0
V1 = b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 993\r\n"
V2 = SIGNATURE + b"\x21\x11\x00\x0c" + bytes([192, 0, 2, 1, 198, 51, 100, 7]) + b"\xdc\x04\x03\xe1"
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"
Loop = Callable[[], asyncio.AbstractEventLoop]
LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


class Teller:
    """Says who the client is, and its first line back."""

    def __init__(self, stream: ClientStream, client: Client) -> None:
        self._stream, self._client = stream, client

    def stop(self) -> None:
        self._stream.close()

    async def run(self, *, is_full: bool) -> None:
        first = b""
        while not first.endswith(b"\n"):
            first += await self._stream.read()
        self._stream.write(f"{self._client.address} {self._client.is_secure} ".encode() + first)
        self._stream.close()
        await self._stream.wait_closed()


@asynccontextmanager
async def teller(balancers: str, certificate: tuple[Path, Path] | None = None) -> AsyncIterator[int]:
    tls = server_context(*map(str, certificate)) if certificate else None
    async with listening("127.0.0.1", {"door": Door(0, tls)}, 10, Teller, balancer_networks(balancers)) as ports:
        yield ports["door"]


async def ask(port: int, first: bytes, *, trickled: bool = False) -> bytes:
    """All that the server answers to these octets."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in [first[n : n + 1] for n in range(len(first))] if trickled else [first]:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    answer = await reader.read()
    writer.close()
    return answer


def run(loop: Loop, work: Coroutine[None, None, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(LIMIT_S):
            await work

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(limited())


@LOOPS
@pytest.mark.parametrize("trickled", [False, True])
@pytest.mark.parametrize(("header", "address"), [(V1, b"192.0.2.1"), (V2, b"192.0.2.1"), (LOCAL, b"127.0.0.1")])
def test_a_balancer_names_the_client(loop: Loop, header: bytes, address: bytes, trickled: bool) -> None:
    async def work() -> None:
        async with teller("198.51.100.0/24, 127.0.0.1") as port:
            answer = await ask(port, header + b"hello\r\n", trickled=trickled)
            assert answer == address + b" False hello\r\n"

    run(loop, work())


@LOOPS
def test_tls_begins_behind_the_header(loop: Loop, tmp_path: Path) -> None:
    """As balancers do it: header and ClientHello in one packet."""
    certificate = kept_certificate(tmp_path)

    async def work() -> None:
        async with teller("127.0.0.0/8", certificate) as port:
            trusting = ssl.create_default_context(cafile=str(certificate[0]))
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = trusting.wrap_bio(incoming, outgoing, server_hostname="localhost")
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with pytest.raises(ssl.SSLWantReadError):
                tls.do_handshake()
            writer.write(V2 + outgoing.read())
            while True:
                incoming.write(await reader.read(65536))
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    writer.write(outgoing.read())
            tls.write(b"hello\r\n")
            writer.write(outgoing.read())
            answer = b""
            while not answer.endswith(b"\n"):
                incoming.write(await reader.read(65536))
                try:
                    answer += tls.read(100)
                except ssl.SSLWantReadError:
                    continue
            assert answer == b"192.0.2.1 True hello\r\n"
            writer.close()

    run(loop, work())


@LOOPS
def test_what_others_send_is_never_a_header(loop: Loop) -> None:
    async def work() -> None:
        for balancers in ("", "198.51.100.0/24"):
            async with teller(balancers) as port:
                assert await ask(port, V1) == b"127.0.0.1 False " + V1

    run(loop, work())


@LOOPS
def test_a_balancer_without_a_header_is_sent_away(loop: Loop) -> None:
    async def work() -> None:
        async with teller("127.0.0.1") as port:
            for octets in (b"EHLO client.example\r\n", SIGNATURE + b"\x21\x11\x00\x02ab", V1[:-2] + b"\n"):
                try:
                    assert await ask(port, octets) == b""
                except ConnectionResetError:
                    continue
            # The door is still open.
            assert await ask(port, V1 + b"hello\r\n") == b"192.0.2.1 False hello\r\n"

    run(loop, work())


@LOOPS
def test_stopping_ends_those_that_have_said_nothing(loop: Loop) -> None:
    async def work() -> None:
        async with teller("127.0.0.1") as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(V1[:10])
            # Those before it in the backlog have been accepted when a later one has been answered.
            assert await ask(port, V1 + b"hello\r\n")
        assert await reader.read() == b""
        writer.close()

    run(loop, work())


def test_networks_are_checked_at_start() -> None:
    networks = balancer_networks("10.0.0.0/8, 2001:db8::1,127.0.0.1")
    assert is_in("10.1.2.3", networks)
    assert is_in("::ffff:10.1.2.3", networks)
    assert is_in("2001:db8::1", networks)
    assert not is_in("192.0.2.1", networks)
    assert balancer_networks(" ") == ()
    for wrong in ("10.0.0.1/8", "balancer", "10.0.0.0/33"):
        with pytest.raises(SettingsError, match="POSTROOM_PROXY_PROTOCOL_FROM"):
            balancer_networks(wrong)
