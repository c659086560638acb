"""NATS, as our processes use it: connected in the background, never in the way of mail.

A bus that has no connection drops core notifications (views catch up by themselves) and
raises BusUnavailable for JetStream, whose callers try again: Postgres is the record.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

import msgspec
import structlog
from nats.aio.client import PING_PROTO, Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from mail_runtime.contracts.subjects import PRESENCE, Present

log = structlog.get_logger()

RECONNECT_WAIT_S: Final = 1
PUBLISH_TIMEOUT_S: Final = 5.0


class BusUnavailable(Exception):
    """NATS can't be reached now."""


class Bus:
    """Use as `async with Bus(url, name) as bus`. Entering does not wait for NATS to be there."""

    def __init__(self, url: str, name: str) -> None:
        self._url, self._name = url, name
        self._client = Client()
        self._dialling: asyncio.Task[None] | None = None
        self._connected = asyncio.Event()
        self._on_connect: list[Callable[[], Awaitable[None]]] = []
        # How often messages may have been lost: connections that ended, and what came faster than it was taken.
        self.interruptions = 0
        self._present = Present(name, socket.gethostname(), os.getpid(), int(time.time()))

    async def __aenter__(self) -> Self:
        self._dialling = asyncio.create_task(self._dial(), name="bus-dial")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._dialling is not None:
            self._dialling.cancel()
            await asyncio.gather(self._dialling, return_exceptions=True)
        if not self._client.is_closed:
            await asyncio.wait_for(self._client.close(), PUBLISH_TIMEOUT_S)

    async def _dial(self) -> None:
        """Connect for the first time, however long that takes; nats-py reconnects from then on."""
        while True:
            try:
                await self._client.connect(
                    self._url,
                    name=self._name,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=RECONNECT_WAIT_S,
                    connect_timeout=2,
                    allow_reconnect=True,
                    error_cb=self._error,
                    disconnected_cb=self._disconnected,
                    reconnected_cb=self._reconnected,
                )
            except (NatsError, OSError, TimeoutError):
                await asyncio.sleep(RECONNECT_WAIT_S)
                self._client = Client()
                continue
            await self.subscribe(PRESENCE, self._answer_presence)
            await self._reconnected()
            return

    async def _answer_presence(self, message: Msg) -> None:
        if message.reply:
            await self.publish(message.reply, msgspec.msgpack.encode(self._present))

    async def _error(self, error: Exception) -> None:
        self.interruptions += 1
        log.info("bus_error", error=repr(error))

    async def _disconnected(self) -> None:
        self._connected.clear()
        self.interruptions += 1
        log.warning("bus_disconnected")

    async def _reconnected(self) -> None:
        self.interruptions += 1
        self._connected.set()
        log.info("bus_connected")
        for callback in self._on_connect:
            await callback()

    @property
    def connected(self) -> bool:
        return self._client.is_connected

    @property
    def keeps_order(self) -> bool:
        """Whether there is a connection, to a server that hands nothing on to others of a cluster."""
        return self.connected and self._connected.is_set() and not self._client._server_info.get("cluster")

    def new_inbox(self) -> str:
        """A subject that nobody else uses."""
        return self._client.new_inbox()

    async def wait_connected(self) -> None:
        """Return once there is a connection."""
        await self._connected.wait()

    def on_connect(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Call `callback` after each (re)connection: what was missed must be looked up."""
        self._on_connect.append(callback)

    async def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Core publish: best effort. `reply`: where answers are to go."""
        if not self.connected:
            return
        try:
            await self._client.publish(subject, payload, reply=reply)
        except (NatsError, OSError) as error:
            log.info("bus_publish_failed", subject=subject, error=repr(error))

    def sound(self, answered: Callable[[], None]) -> None:
        """Send a PING behind all that was published and subscribed to, and call `answered` when its PONG is here:
        behind all that the server had in line for us. It is never called when the connection ends before.
        """
        client, transport = self._client, self._client._transport
        if transport is None or not client.is_connected:
            return
        if client._pending:  # nats-py itself would write the PING ahead of these
            transport.writelines(client._pending[:])
            client._pending, client._pending_data_size = [], 0
        client._pongs.append(_Sounding(answered))  # type: ignore[arg-type]
        transport.write(PING_PROTO)

    async def subscribe(self, subject: str, deliver: Callable[[Msg], Awaitable[None]]) -> Subscription:
        """Core subscription; kept over reconnections. Raises BusUnavailable: never connected yet."""
        try:
            return await self._client.subscribe(subject, cb=deliver)
        except (NatsError, OSError) as error:
            raise BusUnavailable(str(error)) from error

    async def ask_all(self, subject: str, within_s: float) -> list[bytes]:
        """What everybody answers who answers within that time. Raises BusUnavailable: not connected."""
        if not self.connected:
            raise BusUnavailable("not connected to NATS")
        answers: list[bytes] = []

        async def note(message: Msg) -> None:
            answers.append(message.data)

        inbox = self.new_inbox()
        subscription = await self.subscribe(inbox, note)
        try:
            await self._client.publish(subject, b"", reply=inbox)
            await asyncio.sleep(within_s)
        except (NatsError, OSError) as error:
            raise BusUnavailable(str(error)) from error
        finally:
            with contextlib.suppress(NatsError, OSError):
                await subscription.unsubscribe()
        return answers

    def jetstream(self) -> JetStreamContext:
        """JetStream of the present connection. Raises BusUnavailable."""
        if not self.connected:
            raise BusUnavailable("not connected to NATS")
        return self._client.jetstream(timeout=PUBLISH_TIMEOUT_S)


class _Sounding:
    """Stands among the futures of nats-py that wait for PONGs; a future would tell it a turn of the loop later."""

    def __init__(self, answered: Callable[[], None]) -> None:
        self._answered = answered

    def set_result(self, _: bool) -> None:
        self._answered()


__all__ = ["Bus", "BusUnavailable", "Msg"]
