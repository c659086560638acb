"""A client's octets, in and out, on both event loops."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path

import pytest
import uvloop

from mail_runtime.accepting import accepting
from mail_runtime.streams import HELD_OCTETS, ClientStream
from mail_runtime.tls import server_context
from postroom_cli.launcher.certificate import kept_certificate

LIMIT_S = 60.0
# What an event loop takes from the kernel at a time, at most.
TAKEN_OCTETS = 256 * 1024
Loop = Callable[[], asyncio.AbstractEventLoop]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


def run(
    loop: Loop,
    serve: Callable[[ClientStream], Awaitable[None]],
    client: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]],
) -> None:
    """Both ends; what the serving one raises is raised here."""

    async def work() -> None:
        served: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def serving(stream: ClientStream) -> None:
            try:
                await serve(stream)
            except BaseException as error:
                served.set_exception(error)
            else:
                served.set_result(None)

        async with (
            asyncio.timeout(LIMIT_S),
            accepting("127.0.0.1", 0, None, (), lambda _: ClientStream(serving)) as port,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                await client(reader, writer)
                await served
            finally:
                writer.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(work())


async def ended(stream: ClientStream) -> None:
    stream.close()
    await stream.wait_closed()


@LOOPS
def test_whatever_comes_is_read_in_bounded_pieces(loop: Loop) -> None:
    sent = bytes(range(256)) * 100_000

    async def serve(stream: ClientStream) -> None:
        received = []
        while octets := await stream.read(LIMIT_S):
            assert len(octets) <= HELD_OCTETS
            assert stream._held <= HELD_OCTETS + TAKEN_OCTETS
            received.append(octets)
            await asyncio.sleep(0)
        assert b"".join(received) == sent
        stream.write(b"all of ")
        stream.write_all([b"it", b"\r\n"])
        await ended(stream)

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        writer.write_eof()
        assert await reader.read() == b"all of it\r\n"

    run(loop, serve, client)


@LOOPS
def test_a_client_that_does_not_read_is_waited_for(loop: Loop) -> None:
    sent = bytes(64 * 1024 * 1024)
    is_stuck = asyncio.Event()

    async def serve(stream: ClientStream) -> None:
        stream.write(sent)
        assert stream.must_wait
        waiting = [asyncio.create_task(stream.drain()) for _ in range(3)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        waiting[1].cancel()
        is_stuck.set()
        assert await asyncio.gather(waiting[0], waiting[2]) == [None, None]
        await ended(stream)

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await is_stuck.wait()
        assert await reader.read() == sent

    run(loop, serve, client)


@LOOPS
def test_each_read_has_its_own_time(loop: Loop) -> None:
    async def serve(stream: ClientStream) -> None:
        assert await stream.read(LIMIT_S) == b"first"
        stream.write(b"next")
        assert await stream.read(LIMIT_S / 2) == b"second"
        # The timer of a read that is over goes off in one that has more time.
        reading = asyncio.create_task(stream.read(LIMIT_S))
        await asyncio.sleep(0)
        stream._time_out()
        stream.write(b"next")
        assert await reading == b"third"
        stream._time_out()
        for timeout_s in (0.01, 0.0, -1.0):
            with pytest.raises(TimeoutError):
                await stream.read(timeout_s)
        stream.write(b"next")
        assert await stream.read() == b"fourth"
        await ended(stream)

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"first")
        for octets in (b"second", b"third", b"fourth"):
            assert await reader.readexactly(4) == b"next"
            writer.write(octets)
        assert await reader.read() == b""

    run(loop, serve, client)


@LOOPS
def test_reading_goes_on_after_it_was_given_up(loop: Loop) -> None:
    async def serve(stream: ClientStream) -> None:
        reading = asyncio.create_task(stream.read(LIMIT_S))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        stream.write(b"now")
        assert await stream.read(LIMIT_S) == b"here"
        await ended(stream)

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(3) == b"now"
        writer.write(b"here")

    run(loop, serve, client)


@LOOPS
def test_a_client_that_is_gone(loop: Loop) -> None:
    async def serve(stream: ClientStream) -> None:
        try:
            while await stream.read(LIMIT_S):
                pass
        except OSError:
            pass  # as the kernel tells it
        stream.write(bytes(64 * 1024 * 1024))
        while stream.must_wait and not stream._closed.done():
            await asyncio.sleep(0)
        with pytest.raises(OSError):
            await stream.drain()
        stream.abort()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.transport.abort()

    run(loop, serve, client)


@LOOPS
def test_no_connection_outlives_its_task(loop: Loop) -> None:
    async def serve(stream: ClientStream) -> None:
        stream.write(b"bye")

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.read() in (b"bye", b"")

    run(loop, serve, client)


@LOOPS
def test_what_came_in_clear_is_forgotten_when_tls_begins(loop: Loop, tmp_path: Path) -> None:
    certificate = kept_certificate(tmp_path)
    tls = server_context(*map(str, certificate))
    assert tls is not None

    async def serve(stream: ClientStream) -> None:
        assert await stream.read(LIMIT_S) == b"STARTTLS\r\n"
        stream.write(b"behind it?\r\n")
        while not stream._is_paused:  # all that the client sends in clear is here
            await asyncio.sleep(0)
        stream.write(b"begin\r\n")
        await stream.start_tls(tls)
        assert stream.is_secure
        assert await stream.read(LIMIT_S) == b"hello"
        stream.write_all([b"over ", b"TLS"])
        await ended(stream)

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"STARTTLS\r\n")
        assert await reader.readline() == b"behind it?\r\n"
        writer.write(bytes(HELD_OCTETS + 1))
        assert await reader.readline() == b"begin\r\n"
        await writer.start_tls(ssl.create_default_context(cafile=str(certificate[0])), server_hostname="localhost")
        writer.write(b"hello")
        assert await reader.read() == b"over TLS"

    run(loop, serve, client)


@LOOPS
def test_a_handshake_that_fails_ends_the_connection(loop: Loop, tmp_path: Path) -> None:
    tls = server_context(*map(str, kept_certificate(tmp_path)))
    assert tls is not None

    async def serve(stream: ClientStream) -> None:
        stream.write(b"begin\r\n")
        with pytest.raises(OSError):
            await stream.start_tls(tls)
        await stream.wait_closed()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"begin\r\n"
        writer.write(b"this is no handshake\r\n" * 100)
        try:
            while await reader.read(100):
                pass
        except OSError:
            pass

    run(loop, serve, client)
