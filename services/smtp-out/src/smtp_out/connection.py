"""One SMTP connection to a remote host: the octets of a `ClientSession` on a socket (RFC 5321 §4.5.3.2)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import time
from collections import deque
from dataclasses import dataclass
from typing import Final, Self

from mail_proto.smtp.client import ClientSession, State
from mail_proto.smtp.client_actions import (
    BLOCK_TIMEOUT_S,
    GREETING_TIMEOUT_S,
    Action,
    Close,
    Envelope,
    Idle,
    Manner,
    Send,
    SendMessage,
    StartTls,
    Verdict,
)
from mail_proto.smtp.client_replies import Reply, ReplyFault, ReplyReader
from smtp_out.metrics import COMMANDS
from smtp_out.tls import OPPORTUNISTIC, TlsDemand, TlsFailed, TlsState, checked, context_for, failed

CONNECT_TIMEOUT_S: Final = 30.0
HANDSHAKE_TIMEOUT_S: Final = 30.0
CLOSE_TIMEOUT_S: Final = 2.0
BLOCK_OCTETS: Final = 65_536
# RFC 5321 §4.2.1: the first digit of a reply. ReplyReader gives no others.
_CLASSES: Final = {2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}


class NotConnected(Exception):
    """No TCP connection to this address."""


@dataclass(frozen=True, slots=True)
class Target:
    """One address of one host, and how to speak to it. `source`: our address, or empty."""

    host: str
    address: str
    port: int
    manner: Manner
    demand: TlsDemand = OPPORTUNISTIC
    implicit_tls: bool = False
    source: str = ""
    authorities: str = ""

    @property
    def server_name(self) -> str:
        """For SNI: of a host that DANE is about, the name that its TLSA records are under (RFC 7672 §8.1)."""
        return self.demand.names[0] if self.demand.names else self.host

    def __str__(self) -> str:
        return f"{self.host} [{self.address}]" if self.host != self.address else f"[{self.address}]"


class Connection:
    """Made by `open`; after it either `refusal` is set or any number of `transmit` may follow, then `close`."""

    def __init__(self, target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.target = target
        self.tls: TlsState | None = None
        self.messages = 0
        self._asked_at = 0.0
        self._reader, self._writer = reader, writer
        self._session = ClientSession(target.manner, secure=target.implicit_tls)
        self._replies = ReplyReader()
        self._ready: deque[Reply] = deque()

    @classmethod
    async def open(cls, target: Target) -> Self:
        """Connect and greet. Raises NotConnected, TlsFailed."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                local = (target.source, 0) if target.source else None
                reader, writer = await asyncio.open_connection(target.address, target.port, local_addr=local)
        except TimeoutError as error:
            raise NotConnected("connection timed out") from error
        except OSError as error:
            raise NotConnected(os.strerror(error.errno) if error.errno else "connection failed") from error
        connection = cls(target, reader, writer)
        try:
            if target.implicit_tls:
                await connection._start_tls()
            await connection._greet()
        except BaseException:
            await connection.close(politely=False)
            raise
        return connection

    @property
    def refusal(self) -> Verdict | None:
        """Why it takes no mail."""
        return self._session.refusal

    @property
    def offered(self) -> frozenset[str]:
        """Keywords of the EHLO answer, in upper case."""
        return frozenset(self._session.offered)

    @property
    def usable(self) -> bool:
        """The server waits for a transaction, as far as one can see from here."""
        quiet = not self._ready and self._replies.empty
        return self._session.state is State.IDLE and quiet and not self._reader.at_eof()

    async def transmit(self, envelope: Envelope, message: bytes) -> tuple[Verdict, ...]:
        """One transaction; `message` is dot-stuffed. What breaks the connection is the verdict of whom it hits."""
        self.messages += 1
        await self._run(self._session.begin(envelope), message)
        return self._session.verdicts

    @property
    def try_elsewhere(self) -> bool:
        """The last transaction broke off before any recipient was offered."""
        return self._session.try_elsewhere

    async def close(self, *, politely: bool = True) -> None:
        """Say QUIT if that is possible, and let go of the socket."""
        if politely and self.usable:
            await self._run(self._session.quit(), b"")
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError, ssl.SSLError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._writer.wait_closed()

    async def _greet(self) -> None:
        await self._run(Send(b"", GREETING_TIMEOUT_S), b"")

    async def _run(self, action: Action, message: bytes) -> None:
        """The dialogue until the server waits or all is said. Raises TlsFailed; other losses go to the session."""
        session = self._session
        try:
            while not isinstance(action, Close | Idle):
                self._asked_at = time.perf_counter()
                action = await self._do(action, message)
        except TimeoutError:
            self._waited_for("lost")
            session.lost(f"timed out in state {session.state.name}")
        except ReplyFault as fault:
            self._waited_for("lost")
            if session.state is State.STARTTLS:
                raise TlsFailed("the server spoke before the handshake") from fault
            session.lost(str(fault), "4.5.0")
        except (OSError, EOFError) as error:
            self._waited_for("lost")
            if session.state is State.EHLO and session.secure and not self.target.implicit_tls:
                # With TLS 1.3 a server that doesn't like the handshake says so after it.
                raise failed(error) from error
            session.lost(f"connection lost in state {session.state.name}: {error}")

    async def _do(self, action: Send | SendMessage | StartTls, message: bytes) -> Action:
        match action:
            case Send(octets, timeout_s):
                if octets:
                    await self._write(octets)
                return self._session.receive(await self._answer(timeout_s))
            case SendMessage(timeout_s):
                for start in range(0, len(message), BLOCK_OCTETS):
                    await self._write(message[start : start + BLOCK_OCTETS])
                return self._session.receive(await self._answer(timeout_s))
            case StartTls():
                await self._start_tls()
                return self._session.secured()

    async def _write(self, octets: bytes) -> None:
        async with asyncio.timeout(BLOCK_TIMEOUT_S):
            self._writer.write(octets)
            await self._writer.drain()

    async def _answer(self, timeout_s: float) -> Reply:
        reply = await self._reply(timeout_s)
        self._waited_for(_CLASSES[reply.code // 100])
        return reply

    def _waited_for(self, outcome: str) -> None:
        COMMANDS.labels(self._session.state.name, outcome).observe(time.perf_counter() - self._asked_at)

    async def _reply(self, timeout_s: float) -> Reply:
        async with asyncio.timeout(timeout_s):
            while not self._ready:
                octets = await self._reader.read(BLOCK_OCTETS)
                if not octets:
                    raise EOFError("closed by the remote server")
                self._ready.extend(self._replies.feed(octets))
        return self._ready.popleft()

    async def _start_tls(self) -> None:
        if self._ready or not self._replies.empty:
            # Octets before the handshake could be a third party's (RFC 3207 §6).
            raise TlsFailed("the server spoke before the handshake")
        target = self.target
        context = context_for(target.demand.level, target.authorities)
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
                await self._writer.start_tls(context, server_hostname=target.server_name)
        except (OSError, TimeoutError, EOFError, ValueError) as error:
            raise failed(error) from error
        self.tls = checked(self._writer.get_extra_info("ssl_object"), target.demand)
        self._replies = ReplyReader()
