"""One IMAP connection: octets in, the session's steps carried out one after the other, octets out.

Only this module touches the client's socket. What it may hold back is bounded: a piece of input, and the replies to it;
`commands` write their responses in batches. A client that doesn't read stops everything else of its connection, and is
cut off after `send_timeout_s`.
"""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from contextlib import ExitStack
from typing import Final
from uuid import uuid4

import structlog

from imap import dispatch, news
from imap.login import Logins
from imap.metrics import CONNECTIONS
from imap.session import Session, Shared
from imap.watches import Watch
from mail_proto.imap.capabilities import Offer
from mail_proto.imap.compression import Compression, CompressionLost
from mail_proto.imap.errors import ImapFault, Refused, status
from mail_proto.imap.session import ServerSession
from mail_proto.imap.states import State
from mail_proto.imap.steps import (
    Authenticate,
    Bye,
    Compress,
    Idle,
    LogIn,
    Reply,
    Run,
    SaslResponse,
    StartTls,
    Step,
    Unauthenticate,
)
from mail_runtime.auth import offer
from mail_runtime.contracts.errors import AuthenticationFailed, StoreError
from mail_runtime.contracts.store import Principal
from mail_runtime.listeners import Client
from mail_runtime.loopback import is_loopback
from mail_runtime.streams import ClientStream

log = structlog.get_logger()

WRITE_OCTETS: Final = 65_536
# Copying so much is cheaper than telling the kernel where it lies. TLS makes a record of each piece at least.
COPIED_OCTETS: Final = 32_768
# How often IDLE looks by itself: notifications may be lost.
RECHECK_S: Final = 60.0
CLOSE_TIMEOUT_S: Final = 5.0


class Hangup(Exception):
    """Close, after this last reply."""

    def __init__(self, reply: bytes = b"") -> None:
        super().__init__()
        self.reply = reply


class Connection:
    """Lives as long as its task, which runs `run`."""

    def __init__(self, stream: ClientStream, shared: Shared, tls: ssl.SSLContext | None, client: Client) -> None:
        self._stream, self._shared, self._tls = stream, shared, tls
        self._peer = client.address
        self._out: list[bytes] = []
        self._out_octets = 0
        self._compression: Compression | None = None
        settings = shared.settings
        self._sasl = offer(stream.get_extra_info("ssl_object"), settings.oauth_issuers)
        self._protocol = ServerSession(
            Offer(settings.hostname, tls is not None, self._sasl.names, settings.max_message_octets),
            is_secure=client.is_secure,
            password_may_cross=settings.plaintext_login_on_loopback and is_loopback(self._peer),
        )
        self._session = Session(shared, self._send, self._flush, self._protocol.enabled)
        self._logins = Logins(shared.store, settings.login_failure_delay_s, self._peer)
        self._login_deadline = asyncio.get_running_loop().time() + settings.login_timeout_s
        self._watching = ExitStack()
        self._is_idle = False
        self._must_end = ""
        self._waits = False
        self._task = asyncio.current_task()

    def stop(self) -> None:
        """End with BYE as soon as no command is under way."""
        self._end("the service is stopping; connect again")

    def _end(self, reason: str) -> None:
        """End with BYE and this reason as soon as no command is under way: the login may not hold any more."""
        self._must_end = self._must_end or reason
        if self._waits and self._task is not None:
            self._task.cancel()

    async def run(self, *, is_full: bool) -> None:
        """Serve until the client leaves, breaks the rules too often, or the service stops."""
        structlog.contextvars.bind_contextvars(conn_id=uuid4().hex[:12])
        CONNECTIONS.inc()
        last = b""
        with self._watching:
            try:
                if is_full:
                    raise Hangup(_bye("too many connections; try again later"))
                await self._converse()
            except Hangup as hangup:
                last = hangup.reply
            except news.MailboxGone as gone:
                last = _bye(str(gone))
            except TimeoutError:
                last = _bye("time-out; closing the connection")
            except OSError:
                log.debug("client_gone", peer=self._peer)
            except asyncio.CancelledError:
                if not self._must_end:
                    raise
                last = _bye(self._must_end)
            except Exception:
                log.exception("connection_bug", peer=self._peer)
                last = _bye("internal error")
            finally:
                CONNECTIONS.dec()
                await self._close(last)
        await self._forget()

    async def _close(self, last: bytes) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                out = b"".join((*self._out, last))
                self._stream.write(out if self._compression is None else self._compression.compress(out))
                self._stream.close()
                await self._stream.wait_closed()
        except (OSError, TimeoutError):
            self._stream.abort()

    # Octets

    async def _read(self) -> bytes:
        """Raises Hangup, TimeoutError: the client says nothing."""
        timeout_s = self._shared.settings.idle_timeout_s
        if self._protocol.state is State.NOT_AUTHENTICATED:
            timeout_s = max(0.0, self._login_deadline - asyncio.get_running_loop().time())
        if self._must_end:
            raise Hangup(_bye(self._must_end))
        self._waits = True
        try:
            if self._is_idle or self._session.listens:
                async with asyncio.timeout(timeout_s):
                    octets = await self._read_idling()
            else:
                octets = await self._stream.read(timeout_s)
        finally:
            self._waits = False
        if not octets:
            raise Hangup
        return octets

    async def _read_idling(self) -> bytes:
        """The client's next octets; until they come, news are told as they happen (RFC 2177, RFC 5465)."""
        changed = self._session.watch.changed
        reading = asyncio.create_task(self._stream.read(), name="idle-read")
        try:
            while not reading.done():
                waiting = asyncio.create_task(changed.wait(), name="idle-changed")
                try:
                    await asyncio.wait({reading, waiting}, timeout=RECHECK_S, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    waiting.cancel()
                if not reading.done():
                    await news.push(self._session, is_idle=self._is_idle, is_due=not changed.is_set())
                    await self._flush()
            return reading.result()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _send(self, *pieces: bytes) -> None:
        """Write soon. Raises TimeoutError: the client doesn't read."""
        self._out += pieces
        for octets in pieces:
            self._out_octets += len(octets)
        if self._out_octets > WRITE_OCTETS:
            await self._flush()

    async def _flush(self) -> None:
        if not self._out:
            return
        if len(self._out) == 1 and self._compression is None:
            self._stream.write(self._out[0])
            self._out, self._out_octets = [], 0
        else:
            self._write_all()
        if self._stream.must_wait:
            async with asyncio.timeout(self._shared.settings.send_timeout_s):
                await self._stream.drain()

    def _write_all(self) -> None:
        out, octets, self._out, self._out_octets = self._out, self._out_octets, [], 0
        if self._compression is not None:
            self._stream.write(self._compression.compress(b"".join(out)))
        elif octets <= COPIED_OCTETS or self._stream.is_secure:
            self._stream.write(b"".join(out))
        else:
            self._stream.write_all(out)

    # Steps

    async def _converse(self) -> None:
        await self._send(self._protocol.greeting().octets)
        while True:
            if self._out:
                await self._flush()
            octets = await self._read()
            if self._compression is None:
                await self._take(octets)
            else:
                await self._take_compressed(self._compression, octets)

    async def _take_compressed(self, compression: Compression, octets: bytes) -> None:
        """Raises Hangup: it is no DEFLATE."""
        try:
            # One piece is dealt with before the next is made: a bomb finds no room to go off.
            for piece in compression.pieces(octets):
                await self._take(piece)
                if self._compression is not compression:
                    break
        except CompressionLost as lost:
            raise Hangup(_bye(str(lost))) from lost
        if self._compression is not compression:  # the client has logged out of its account
            await self._take(compression.in_clear)

    async def _take(self, octets: bytes) -> None:
        for step in self._protocol.receive(octets):
            self._is_idle = False
            if isinstance(step, Run):
                step = await dispatch.run(self._protocol, self._session, step.tag, step.command)
            if isinstance(step, Reply):
                await self._send(step.octets)
            else:
                await self._carry_out(step)

    async def _carry_out(self, step: Step) -> None:
        match step:
            case Reply(octets):
                await self._send(octets)
            case Bye(octets):
                raise Hangup(octets)
            case Idle(octets):
                await self._send(octets)
                self._is_idle = True
            case StartTls(octets):
                await self._start_tls(octets)
            case Compress(octets):
                await self._send(octets)
                await self._flush()
                self._protocol.compressed()
                self._compression = Compression()
            case Unauthenticate(octets):
                await self._unauthenticate(octets)
            case LogIn() | Authenticate() | SaslResponse():
                await self._log_in(step)

    async def _start_tls(self, octets: bytes) -> None:
        assert self._tls is not None, "checked by the session"
        await self._send(octets)
        await self._flush()
        await self._stream.start_tls(self._tls)
        tls = self._stream.get_extra_info("ssl_object")
        self._sasl = offer(tls, self._shared.settings.oauth_issuers)
        self._protocol.secured(self._sasl.names)

    async def _unauthenticate(self, octets: bytes) -> None:
        """Back to the state after the greeting (RFC 8437)."""
        await self._send(octets)
        await self._flush()
        await self._forget()
        self._protocol.unauthenticated()
        self._login_deadline = asyncio.get_running_loop().time() + self._shared.settings.login_timeout_s
        self._compression = None

    async def _forget(self) -> None:
        """Who the client was."""
        self._session.unselect()
        self._session.listening = None
        await self._shared.watches.listen(self._session.watch, set())
        self._watching.close()
        if self._session.principal is not None:
            for account_id in (self._session.account_id, *self._session.watch.followed):
                await self._shared.watches.release(account_id)
        self._session.principal, self._session.watch = None, Watch()

    async def _log_in(self, step: LogIn | Authenticate | SaslResponse) -> None:
        await self._flush()
        try:
            answer = await self._attempt(step)
            if isinstance(answer, Principal):
                await self._logged_in(answer)
        except AuthenticationFailed as error:
            fault = Refused(str(error), "AUTHENTICATIONFAILED")
            await self._carry_out(self._protocol.login_failed(step.tag, fault))
        except ImapFault as fault:
            await self._carry_out(self._protocol.failed(step.tag, fault))
        except StoreError as error:
            await self._carry_out(self._protocol.failed(step.tag, dispatch.refusal(error)))
        else:
            if isinstance(answer, Principal):
                await self._carry_out(self._protocol.logged_in(step.tag, sets_quotas=answer.sets_quotas))
            else:
                await self._carry_out(self._protocol.challenge(step.tag, b64encode(answer)))

    async def _attempt(self, step: LogIn | Authenticate | SaslResponse) -> bytes | Principal:
        """A challenge, or who the client is. Raises AuthenticationFailed, ImapFault, StoreError."""
        match step:
            case LogIn(_, user, password):
                return await self._logins.with_password(user, password)
            case Authenticate(_, mechanism, initial):
                return await self._logins.begin(mechanism, initial, self._sasl)
            case SaslResponse(_, line):
                return await self._logins.respond(line)

    async def _logged_in(self, principal: Principal) -> None:
        watches = self._shared.watches
        self._session.principal = principal
        self._session.watch = self._watching.enter_context(watches.watching(principal.account_id, self._end))
        await watches.subscribe(principal.account_id)


def _bye(text: str) -> bytes:
    return status(b"*", b"BYE", text)
