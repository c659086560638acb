"""One client's octets, in and out, for the one task that serves it.

asyncio's streams do it for everybody, with a buffer that is copied into and out of; a time-out is made anew for each
read. That is a third of what a line and its answer cost (decision 24). Here what comes is handed on as it is, and a
connection has one timer, which is moved only when it goes off too early.
"""

from __future__ import annotations

import asyncio
import ssl
from asyncio import Future, TimerHandle
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, cast

# What came and isn't read yet; with more nothing is taken from the kernel.
HELD_OCTETS: Final = 65_536
TLS_HANDSHAKE_TIMEOUT_S: Final = 30.0
_NEVER: Final = float("inf")


class ClientStream(asyncio.Protocol):
    """`serve` runs in a task of its own from the moment the connection is there, which ends with it at the latest.

    One task at a time reads; any may write and wait.
    """

    __slots__ = (
        "_chunks",
        "_closed",
        "_deadline",
        "_error",
        "_held",
        "_is_at_end",
        "_is_paused",
        "_loop",
        "_must_wait",
        "_reader",
        "_serve",
        "_task",
        "_timer",
        "_timer_at",
        "_transport",
        "_writer",
    )

    def __init__(self, serve: Callable[[ClientStream], Awaitable[None]]) -> None:
        self._serve = serve
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._task: asyncio.Task[None] | None = None
        self._chunks: list[bytes] = []
        self._held = 0
        self._is_paused = self._is_at_end = self._must_wait = False
        self._error: Exception | None = None
        self._reader: Future[None] | None = None
        self._writer: Future[None] | None = None
        self._closed: Future[None] = self._loop.create_future()
        self._timer: TimerHandle | None = None
        self._deadline = self._timer_at = _NEVER

    # Reading

    async def read(self, timeout_s: float | None = None) -> bytes:
        """What came, up to HELD_OCTETS; b"": the client sends no more. Raises TimeoutError, OSError: it is gone."""
        if timeout_s is not None and timeout_s <= 0:
            raise TimeoutError
        if not self._chunks and not self._is_at_end:
            self._set_deadline(timeout_s)
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader, self._deadline = None, _NEVER
        if not self._chunks:
            if self._error is not None:
                raise self._error
            return b""
        octets = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        if len(octets) <= HELD_OCTETS and not self._is_paused:
            self._chunks, self._held = [], 0
            return octets
        self._chunks = [octets[HELD_OCTETS:]] if len(octets) > HELD_OCTETS else []
        self._held = max(0, len(octets) - HELD_OCTETS)
        self._let_in()
        return octets[:HELD_OCTETS]

    def _let_in(self) -> None:
        """Go on taking what comes, if there is room again."""
        if self._is_paused and self._held <= HELD_OCTETS:
            self._is_paused = False
            self._transport.resume_reading()

    def _set_deadline(self, timeout_s: float | None) -> None:
        if timeout_s is not None:
            self._deadline = self._loop.time() + timeout_s
            if self._timer is None or self._timer_at > self._deadline:
                self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._deadline
        self._timer = self._loop.call_at(self._deadline, self._time_out)

    def _time_out(self) -> None:
        self._timer = None
        if self._reader is None or self._reader.done() or self._deadline == _NEVER:
            return
        if self._loop.time() < self._deadline:
            self._set_timer()  # it was set for a read before this one
        else:
            self._reader.set_exception(TimeoutError())

    def clear(self) -> None:
        """Forget what came and isn't read yet."""
        self._chunks, self._held = [], 0

    # Writing

    @property
    def is_secure(self) -> bool:
        """Whether TLS is there."""
        return self._transport.get_extra_info("ssl_object") is not None

    @property
    def must_wait(self) -> bool:
        """Whether `drain` waits, or raises: the client reads too slowly, or is gone."""
        return self._must_wait or self._closed.done() or self._transport.is_closing()

    def write(self, octets: bytes) -> None:
        self._transport.write(octets)

    def write_all(self, pieces: Sequence[bytes]) -> None:
        """One after the other, without copying them."""
        self._transport.writelines(pieces)

    async def drain(self) -> None:
        """Return when the client has taken most of what was written. Raises OSError: it is gone."""
        if self._closed.done() or self._transport.is_closing():
            await asyncio.sleep(0)  # what made it close may be on its way
            raise self._error or ConnectionResetError("the client is gone")
        if self._must_wait:
            if self._writer is None:
                self._writer = self._loop.create_future()
            await asyncio.shield(self._writer)
            if self._closed.done():
                raise self._error or ConnectionResetError("the client is gone")

    # Beginning and end

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Do the handshake; call it after the reply that invites to it was written.

        What the client sent in clear behind its command is thrown away (RFC 3207 §4.2), so that nothing injected before
        the handshake is taken for protected afterwards.

        Raises OSError, ssl.SSLError, TimeoutError: the handshake failed; close the connection.
        """
        await self.drain()
        # No await between here and the change of protocol inside start_tls: nothing can slip in.
        self.clear()
        self._let_in()
        try:
            transport = await self._loop.start_tls(
                self._transport, self, context, server_side=True, ssl_handshake_timeout=TLS_HANDSHAKE_TIMEOUT_S
            )
        except BaseException:
            self._transport.abort()
            self._lost(None)  # nobody else says so
            raise
        assert transport is not None
        self._transport = transport

    def get_extra_info(self, name: str) -> Any:
        return self._transport.get_extra_info(name)

    def close(self) -> None:
        """Close once everything is written."""
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    async def wait_closed(self) -> None:
        """Raises OSError: it broke off."""
        await asyncio.shield(self._closed)
        if self._error is not None:
            raise self._error

    # asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._task = self._loop.create_task(self._run(), name="connection")

    async def _run(self) -> None:
        try:
            await self._serve(self)
        finally:
            if not self._transport.is_closing():
                self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._chunks.append(data)
        self._held += len(data)
        if self._held > HELD_OCTETS and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake(self._reader)

    def eof_received(self) -> bool:
        self._is_at_end = True
        self._wake(self._reader)
        return not self.is_secure  # the client may still read; in TLS there is no half of a connection

    def pause_writing(self) -> None:
        self._must_wait = True

    def resume_writing(self) -> None:
        self._must_wait = False
        writer, self._writer = self._writer, None
        self._wake(writer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(exc)

    def _lost(self, error: Exception | None) -> None:
        if self._closed.done():
            return
        self._is_at_end, self._error = True, error
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake(self._reader)
        writer, self._writer = self._writer, None
        self._wake(writer)
        self._closed.set_result(None)

    @staticmethod
    def _wake(waiter: Future[None] | None) -> None:
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
