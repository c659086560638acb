"""One POP3 connection: octets in, the session's steps carried out one after the other, octets out.

Only this module touches the client's socket. What it may hold back is bounded: a piece of input, the replies to it,
and one piece of a message above the transport's own buffer. A client that doesn't read stops everything else of its
connection, and is cut off after the idle time-out.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import aclosing
from typing import Final
from uuid import uuid4

import structlog

from mail_proto.pop3.capabilities import Offer
from mail_proto.pop3.errors import Garbage, NeedsUtf8, Pop3Fault, TemporaryFailure
from mail_proto.pop3.outgoing import Outgoing
from mail_proto.pop3.replies import ok
from mail_proto.pop3.session import ServerSession, State
from mail_proto.pop3.steps import Authenticate, Bye, LogIn, Reply, SaslResponse, Send, StartTls, Step, Update
from mail_runtime.contracts.errors import StoreError
from mail_runtime.listeners import Client
from mail_runtime.loopback import is_loopback
from mail_runtime.streams import ClientStream
from pop3.login import Logins
from pop3.maildrop import OpenedMaildrop
from pop3.metrics import CONNECTIONS, RETRIEVED, STEPS
from pop3.shared import Shared

log = structlog.get_logger()

WRITE_OCTETS: Final = 65_536
CLOSE_TIMEOUT_S: Final = 5.0
REMOVED_NOTHING: Final = "nothing was removed"


class Hangup(Exception):
    """Close, after this last reply."""

    def __init__(self, reply: bytes = b"") -> None:
        super().__init__()
        self.reply = reply


class Connection:
    """Lives as long as its task, which runs `run`."""

    def __init__(self, stream: ClientStream, shared: Shared, tls: ssl.SSLContext | None, client: Client) -> None:
        self._stream, self._settings, self._tls = stream, shared.settings, tls
        self._peer = client.address
        settings = shared.settings
        self._logins = Logins(shared, self._peer, self._end)
        self._sasl = self._logins.offer(stream.get_extra_info("ssl_object"))
        self._session = ServerSession(
            Offer(settings.hostname, tls is not None, self._sasl.names, settings.login_delay_s),
            is_secure=client.is_secure,
            password_may_cross=settings.plaintext_login_on_loopback and is_loopback(self._peer),
        )
        self._login_deadline = asyncio.get_running_loop().time() + settings.login_timeout_s
        self._maildrop: OpenedMaildrop | None = None
        self._replies = bytearray()
        self._must_end = ""
        self._waits = False
        self._task = asyncio.current_task()

    def stop(self) -> None:
        """The service stops: end as soon as no command is under way; nothing is removed."""
        self._must_end = "the service is stopping"
        if self._waits and self._task is not None:
            self._task.cancel()

    def _end(self) -> None:
        """Another session has the lock."""
        self._must_end = "the maildrop's lock was lost"
        if self._waits and self._task is not None:
            self._task.cancel()

    async def run(self, *, is_full: bool) -> None:
        """Serve until the client leaves, breaks the rules too often, or the service stops."""
        structlog.contextvars.bind_contextvars(conn_id=uuid4().hex[:12])
        CONNECTIONS.inc()
        last = b""
        try:
            if is_full:
                raise Hangup(TemporaryFailure("too many connections; try again later").reply())
            await self._converse()
        except Hangup as hangup:
            last = hangup.reply
        except Garbage as fault:
            last = fault.reply()
        except TimeoutError:
            log.info("client_idle", peer=self._peer)  # RFC 1939 §3: close without any response
        except (OSError, ssl.SSLError):
            log.debug("client_gone", peer=self._peer)
        except asyncio.CancelledError:
            if not self._must_end:
                raise
            last = self._ending()
        except Exception:
            log.exception("connection_bug", peer=self._peer)
            last = TemporaryFailure(f"internal error; {REMOVED_NOTHING}").reply()
        finally:
            CONNECTIONS.dec()
            await self._release()
            await self._close(last)

    def _ending(self) -> bytes:
        return TemporaryFailure(f"{self._must_end}; {REMOVED_NOTHING}").reply()

    async def _release(self) -> None:
        """The session ends without UPDATE: the lock goes back, what was seen is told (RFC 1939 §6)."""
        maildrop, self._maildrop = self._maildrop, None
        if maildrop is None:
            return
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await maildrop.close()
        except (StoreError, TimeoutError) as error:
            log.info("unlock_failed", error=str(error))

    async def _close(self, last: bytes) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                self._stream.write(bytes(self._replies) + last)
                self._stream.close()
                await self._stream.wait_closed()
        except (OSError, TimeoutError):
            self._stream.abort()

    # Octets

    async def _read(self) -> bytes:
        timeout_s = self._settings.idle_timeout_s
        if self._session.state is State.AUTHORIZATION:
            timeout_s = max(0.0, self._login_deadline - asyncio.get_running_loop().time())
        if self._must_end:
            raise Hangup(self._ending())
        self._waits = True
        try:
            octets = await self._stream.read(timeout_s)
        finally:
            self._waits = False
        if not octets:
            raise Hangup
        return octets

    async def _flush(self) -> None:
        """Raises TimeoutError: the client doesn't read."""
        if self._replies:
            self._stream.write(bytes(self._replies))
            self._replies.clear()
            if self._stream.must_wait:
                async with asyncio.timeout(self._settings.idle_timeout_s):
                    await self._stream.drain()

    # Steps

    async def _converse(self) -> None:
        self._replies += self._session.greeting().octets
        while True:
            await self._flush()
            for step in self._session.receive(await self._read()):
                start, outcome = time.perf_counter(), "done"
                try:
                    await self._carry_out(step)
                except Pop3Fault as fault:
                    outcome = "refused"
                    self._replies += fault.reply()
                except StoreError as error:
                    outcome = "unavailable"
                    self._replies += TemporaryFailure(str(error)).reply()
                if not isinstance(step, Reply):
                    STEPS.labels(type(step).__name__, outcome).observe(time.perf_counter() - start)
                if self._must_end:
                    raise Hangup(self._ending())
                if len(self._replies) > WRITE_OCTETS:
                    await self._flush()

    async def _carry_out(self, step: Step) -> None:
        match step:
            case Reply(octets):
                self._replies += octets
            case Bye(octets):
                raise Hangup(octets)
            case StartTls(octets):
                await self._start_tls(octets)
            case LogIn() | Authenticate() | SaslResponse():
                await self._log_in(step)
            case Send():
                await self._send(step)
            case Update(uids):
                await self._update(uids)

    async def _start_tls(self, octets: bytes) -> None:
        assert self._tls is not None, "checked by the session"
        self._replies += octets
        await self._flush()
        await self._stream.start_tls(self._tls)
        self._sasl = self._logins.offer(self._stream.get_extra_info("ssl_object"))
        self._session.secured(self._sasl.names)

    async def _log_in(self, step: LogIn | Authenticate | SaslResponse) -> None:
        await self._flush()
        try:
            answer = await self._attempt(step)
        except Pop3Fault as fault:
            await self._carry_out(self._session.refused(fault))
            return
        if isinstance(answer, bytes):
            await self._carry_out(self._session.challenge(answer))
            return
        self._maildrop = answer
        await self._carry_out(self._session.logged_in(answer.messages, answer.retention_days))

    async def _attempt(self, step: LogIn | Authenticate | SaslResponse) -> bytes | OpenedMaildrop:
        """A challenge for the client, or the open maildrop. Raises Pop3Fault, StoreError."""
        match step:
            case LogIn(name, password):
                return await self._logins.with_password(name, password)
            case Authenticate(mechanism, initial):
                return await self._logins.begin(mechanism, initial, self._sasl)
            case SaslResponse(line):
                return await self._logins.respond(line)

    async def _send(self, step: Send) -> None:
        """RETR and TOP. A message that breaks off in the middle ends the connection: its end would be a lie."""
        assert self._maildrop is not None, "only after login"
        outgoing = Outgoing(step.lines)
        is_begun = False
        try:
            async with aclosing(self._maildrop.read(step.msg, step.entry)) as pieces:
                async for piece in pieces:
                    if not is_begun:
                        self._check_header(step, piece)
                        self._replies += ok(f"{step.entry.octets} octets" if step.lines is None else "top of message")
                        is_begun = True
                    await self._pass_on(outgoing.feed(piece))
                    if outgoing.is_done:
                        break
        except StoreError as error:
            if is_begun:
                raise OSError("the message broke off") from error
            raise
        self._replies += outgoing.finish()
        if step.lines is None:
            RETRIEVED.inc()
            if self._settings.retrieving_sets_seen:
                await self._maildrop.note_seen(step.entry.uid)

    async def _pass_on(self, octets: bytes) -> None:
        for start in range(0, len(octets), WRITE_OCTETS):
            self._replies += octets[start : start + WRITE_OCTETS]
            if len(self._replies) >= WRITE_OCTETS:
                await self._flush()

    def _check_header(self, step: Send, piece: bytes) -> None:
        """Raises NeedsUtf8 (RFC 6856 §2.1), where the operator wants it: see docs/divergences.md."""
        if self._settings.refuses_8bit_headers and not step.is_utf8:
            header, _, _ = piece.partition(b"\r\n\r\n")
            if not header.isascii():
                raise NeedsUtf8("the header of this message isn't ASCII: send UTF8 before you log in")

    async def _update(self, uids: list[int]) -> None:
        """QUIT (RFC 1939 §6). The reply comes after the commit, and after the lock is free."""
        assert self._maildrop is not None, "only after login"
        maildrop, self._maildrop = self._maildrop, None
        await self._flush()
        try:
            await maildrop.close(uids)
        except StoreError as error:
            text = f"{error}; the messages may not have been removed" if uids else str(error)
            await self._carry_out(self._session.not_updated(TemporaryFailure(text)))
        await self._carry_out(self._session.updated())
