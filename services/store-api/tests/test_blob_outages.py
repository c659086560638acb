"""An S3 server that refuses, is killed or hangs: nothing acknowledged is lost, and callers hear it soon."""

from __future__ import annotations

import asyncio
import http.client
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from mail_runtime.contracts.errors import Unavailable
from mail_testkit.clients import TIMEOUT_S
from mail_testkit.running import temporary_directory
from mail_testkit.s3 import KEY, SECRET, RunningS3, run_s3
from store_api.blobs import s3_storage
from store_api.blobs.blobs import Blobs
from store_api.blobs.circuit import PAUSE_S
from store_api.blobs.reading import read
from store_api.blobs.retrying import ATTEMPTS
from store_api.blobs.storage import open_storage
from store_api.blobs.writing import Body, WrittenBlob, write
from store_api.db.engine import Database
from store_api.db.ids import uuid7

SILENCE_TIMEOUT_S = 0.5


@pytest.fixture(scope="module")
def s3() -> Iterator[RunningS3]:
    with temporary_directory() as directory, run_s3(directory) as server:
        yield server


@pytest.fixture
async def blobs(s3: RunningS3, database: Database) -> AsyncIterator[Blobs]:
    opened = Blobs(open_storage(s3.url, KEY, SECRET), database)
    await opened.check()
    yield opened
    opened.close()


@pytest.fixture
async def impatient(s3: RunningS3, database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Blobs]:
    """It waits for an answer so short a time that a server on a busy machine may seem to hang."""
    monkeypatch.setattr(s3_storage, "SILENCE_TIMEOUT_S", SILENCE_TIMEOUT_S)
    opened = Blobs(open_storage(s3.url, KEY, SECRET), database)
    yield opened
    opened.close()


async def write_one(blobs: Blobs, octets: bytes) -> WrittenBlob:
    return (await write(blobs, [Body(uuid7(), octets)]))[0]


async def until_it_works(blobs: Blobs) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            try:
                await write_one(blobs, b"works again")
                return
            except Unavailable:
                await asyncio.sleep(0.05)


async def until_the_circuit_opens(blobs: Blobs) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not blobs.storage.circuit.is_open:
            with pytest.raises(Unavailable):
                await asyncio.gather(*(write_one(blobs, b"in vain") for _ in range(4)))


async def refused_at_once(blobs: Blobs) -> None:
    """All but the one that tries, now and then, are refused without asking the server."""
    began = time.monotonic()
    refused = await asyncio.gather(*(write_one(blobs, b"in vain") for _ in range(50)), return_exceptions=True)
    took_s = time.monotonic() - began
    assert all(isinstance(error, Unavailable) for error in refused)
    assert sum("away" not in str(error) for error in refused) <= 1 + took_s / PAUSE_S


async def test_what_was_acknowledged_outlives_a_kill(s3: RunningS3, blobs: Blobs) -> None:
    acknowledged: list[tuple[WrittenBlob, bytes]] = []
    some = asyncio.Event()

    async def writer() -> None:
        while True:
            octets = os.urandom(3000)
            try:
                written = await write_one(blobs, octets)
            except Unavailable:
                return
            acknowledged.append((written, octets))
            if len(acknowledged) >= 40:
                some.set()

    writers = [asyncio.create_task(writer()) for _ in range(8)]
    await some.wait()
    s3.kill()
    await asyncio.gather(*writers)
    await until_the_circuit_opens(blobs)
    await refused_at_once(blobs)
    await asyncio.to_thread(s3.start)
    await until_it_works(blobs)
    assert not blobs.storage.circuit.is_open
    for written, octets in acknowledged:
        assert await read(blobs, written) == octets


async def test_a_server_that_hangs_is_not_waited_for_again(s3: RunningS3, blobs: Blobs, impatient: Blobs) -> None:
    written = await write_one(blobs, b"before")
    with s3.paused():
        await until_the_circuit_opens(impatient)
        await refused_at_once(impatient)
        with pytest.raises(Unavailable):
            await read(impatient, written)
    await until_it_works(impatient)
    assert not impatient.storage.circuit.is_open
    assert await read(blobs, written) == b"before"


_SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>patience</Message></Error>"


@contextmanager
def refusing(url: str, status: int, body: bytes, media_type: str) -> Iterator[tuple[str, list[int]]]:
    """A proxy before the server: (its BLOB_URL, how many of the next requests it refuses)."""
    upstream = urlsplit(url.partition("endpoint=")[2]).netloc
    left = [0]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            octets = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            if left[0]:
                left[0] -= 1
                self._send(status, [("Content-Type", media_type)], body)
                return
            connection = http.client.HTTPConnection(upstream, timeout=10)
            connection.request(self.command, self.path, octets, dict(self.headers.items()))
            answer = connection.getresponse()
            self._send(answer.status, answer.getheaders(), answer.read())
            connection.close()

        def _send(self, code: int, headers: list[tuple[str, str]], octets: bytes) -> None:
            self.send_response_only(code)
            for name, value in headers:
                if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(octets)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(octets)

        do_GET = do_PUT = do_HEAD = do_DELETE = answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"s3://postroom?endpoint=http://127.0.0.1:{server.server_port}", left
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "media_type"),
    [
        (503, _SLOW_DOWN, "application/xml"),
        (429, _SLOW_DOWN, "application/xml"),
        (500, b"", "application/xml"),
        (502, b"<html>bad gateway", "text/html"),
        (503, b"<Error><Code>Slow", "application/xml"),
    ],
)
async def test_refusals_that_pass_are_not_seen_by_the_caller(
    s3: RunningS3, database: Database, status: int, body: bytes, media_type: str
) -> None:
    with refusing(s3.url, status, body, media_type) as (url, left):
        blobs = Blobs(open_storage(url, KEY, SECRET), database)
        await blobs.check()
        for octets in (b"small", os.urandom(s3_storage.STREAMED_OCTETS + 1)):
            left[0] = ATTEMPTS - 1
            written = await write_one(blobs, octets)
            left[0] = ATTEMPTS - 1
            assert await read(blobs, written) == octets
        left[0] = ATTEMPTS
        with pytest.raises(Unavailable):
            await read(blobs, written)
        assert left[0] == 0
        blobs.close()
