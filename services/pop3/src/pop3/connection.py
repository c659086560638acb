"""One POP3 connection: octets in, commands done one after the other, octets out."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid4

import structlog

from mail_proto.pop3 import replies
from mail_proto.pop3.commands import (
    Auth,
    Capa,
    Command,
    Dele,
    List,
    Noop,
    Pass,
    Quit,
    Retr,
    Rset,
    Stat,
    Stls,
    Top,
    Uidl,
    User,
)
from mail_proto.pop3.errors import (
    LineTooLong,
    LoginRefused,
    NoSuchMessage,
    NotNow,
    Pop3Fault,
    SyntaxFault,
    TemporaryFailure,
)
from mail_proto.pop3.maildrop import Entry, Maildrop
from mail_proto.pop3.session import SaslResponse, ServerSession
from mail_proto.sasl import SaslFault, decode_response, parse_plain
from mail_runtime.contracts.errors import AuthenticationFailed, NotFound, StoreError
from mail_runtime.contracts.store import Credentials, Expunge, Principal
from mail_runtime.loopback import is_loopback
from mail_runtime.starttls import upgrade
from mail_runtime.store_client import StoreClient
from pop3.lock import Lock, LockLost
from pop3.metrics import CONNECTIONS, LOGINS, RETRIEVED
from pop3.settings import Settings

log = structlog.get_logger()

READ_OCTETS: Final = 4096
WRITE_OCTETS: Final = 262_144
LOGIN_TIMEOUT_S: Final = 60.0
# RFC 1939 §3: the autologout timer is at least 10 minutes.
IDLE_TIMEOUT_S: Final = 600.0
# A client that doesn't read for this long is gone.
SEND_TIMEOUT_S: Final = 120.0
CLOSE_TIMEOUT_S: Final = 5.0
MAX_FAULTS: Final = 20
MAX_FAILURES: Final = 5
MAX_DELAY_S: Final = 16.0


@dataclass(frozen=True, slots=True)
class Shared:
    """What all connections of the process use together."""

    settings: Settings
    store: StoreClient


class Hangup(Exception):
    """Close, after this last reply."""

    def __init__(self, reply: bytes = b"") -> None:
        super().__init__()
        self.reply = reply


class Connection:
    """Lives as long as its task, which runs `run`."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        shared: Shared,
        tls: ssl.SSLContext | None,
        *,
        secure: bool,
    ) -> None:
        self._reader, self._writer, self._shared, self._tls = reader, writer, shared, tls
        peer = writer.get_extra_info("peername")
        self._peer = str(peer[0]) if peer else "unknown"
        settings = shared.settings
        self._session = ServerSession(
            offers_tls=tls is not None,
            is_secure=secure,
            password_may_cross=settings.plaintext_login_on_loopback and is_loopback(self._peer),
        )
        self._principal: Principal | None = None
        self._mailbox_id: UUID | None = None
        self._lock: Lock | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._faults = self._failures = 0
        self._delay_s = settings.login_failure_delay_s
        self._login_deadline = asyncio.get_running_loop().time() + LOGIN_TIMEOUT_S
        self._stopping = False
        self._waits = False
        self._task = asyncio.current_task()

    def stop(self) -> None:
        """End as soon as no command is under way; nothing is removed."""
        self._stopping = True
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
        except LineTooLong as fault:
            last = fault.reply()
        except LockLost:
            last = TemporaryFailure("the maildrop's lock was lost; nothing was removed").reply()
        except TimeoutError:
            last = TemporaryFailure("time-out; nothing was removed").reply()
        except OSError:
            log.debug("client_gone", peer=self._peer)
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            last = TemporaryFailure("the service is stopping; nothing was removed").reply()
        except Exception:
            log.exception("connection_bug", peer=self._peer)
            last = TemporaryFailure("internal error; nothing was removed").reply()
        finally:
            CONNECTIONS.dec()
            await self._release()
            await self._close(last)

    async def _release(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if self._lock is not None:
            await self._lock.release()

    async def _close(self, last: bytes) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                self._writer.write(last)
                self._writer.close()
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self._writer.transport.abort()

    async def _send(self, octets: bytes) -> None:
        for start in range(0, len(octets), WRITE_OCTETS):
            self._writer.write(octets[start : start + WRITE_OCTETS])
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._writer.drain()

    async def _read(self) -> bytes:
        timeout_s = IDLE_TIMEOUT_S
        if self._principal is None:
            timeout_s = max(0.0, self._login_deadline - asyncio.get_running_loop().time())
        if self._stopping:
            raise Hangup(TemporaryFailure("the service is stopping; nothing was removed").reply())
        self._waits = True
        try:
            async with asyncio.timeout(timeout_s):
                octets = await self._reader.read(READ_OCTETS)
        finally:
            self._waits = False
        if not octets:
            raise Hangup
        return octets

    async def _converse(self) -> None:
        await self._send(replies.ok(f"{self._shared.settings.hostname} Postroom is ready"))
        while True:
            for received in self._session.receive(await self._read()):
                await self._handle(received)
                if self._keeping is not None and self._keeping.done():
                    raise LockLost

    async def _handle(self, received: Command | SaslResponse | Pop3Fault) -> None:
        try:
            if isinstance(received, Pop3Fault):
                raise received
            await self._execute(received)
        except Pop3Fault as fault:
            self._faults += isinstance(fault, SyntaxFault | NotNow)
            await self._send(fault.reply())
            if self._faults > MAX_FAULTS or self._failures >= MAX_FAILURES:
                raise Hangup from fault
        except StoreError as error:
            await self._send(TemporaryFailure(str(error)).reply())

    async def _execute(self, command: Command | SaslResponse) -> None:
        match command:
            case Quit():
                await self._quit()
            case Capa():
                await self._send(replies.listing("capabilities", self._session.capabilities()))
            case Stls():
                await self._start_tls()
            case User(name):
                self._session.user = name
                await self._send(replies.ok("now PASS"))
            case Pass(password):
                user, self._session.user = self._session.user, None
                await self._log_in(user or "", password)
            case Auth(mechanism, initial):
                await self._authenticate(mechanism, initial)
            case SaslResponse(line):
                if line is None:
                    raise LoginRefused("cancelled")
                await self._plain(line)
            case Noop():
                await self._send(replies.ok())
            case _:
                await self._on_maildrop(command)

    # Login

    async def _start_tls(self) -> None:
        assert self._tls is not None, "checked by the session"
        self._writer.write(replies.ok("begin TLS"))
        await upgrade(self._reader, self._writer, self._tls)
        self._session.secured()

    async def _authenticate(self, mechanism: str, initial: bytes | None) -> None:
        if mechanism != "PLAIN":
            raise SyntaxFault("use AUTH PLAIN")
        if initial is None:
            self._session.await_response()
            await self._send(replies.continuation())
        else:
            await self._plain(initial)

    async def _plain(self, response: bytes) -> None:
        try:
            authzid, user, password = parse_plain(decode_response(response))
        except SaslFault as fault:
            raise SyntaxFault(str(fault)) from fault
        if authzid not in ("", user):
            raise LoginRefused("nobody may act for somebody else here")
        await self._log_in(user, password)

    async def _log_in(self, user: str, password: str) -> None:
        store = self._shared.store
        credentials = Credentials(username=user, password=password, protocol="pop3", peer=self._peer)
        try:
            principal = await store.authenticate(credentials)
        except AuthenticationFailed as error:
            self._failures += 1
            LOGINS.labels("failed").inc()
            log.info("login_failed", username=user, peer=self._peer, failures=self._failures)
            await asyncio.sleep(self._delay_s)
            self._delay_s = min(self._delay_s * 2, MAX_DELAY_S)
            raise LoginRefused("wrong name or password") from error
        lock = Lock(store, principal.account_id)
        await lock.acquire()
        self._lock = lock
        maildrop = await self._open(principal.account_id)
        self._keeping = asyncio.create_task(lock.keep(), name="maildrop-lock")
        self._principal = principal
        self._session.logged_in(maildrop)
        LOGINS.labels("succeeded").inc()
        count, octets = maildrop.stat()
        await self._send(replies.ok(f"{count} messages ({octets} octets)"))

    async def _open(self, account_id: UUID) -> Maildrop:
        store = self._shared.store
        inbox = next(mailbox for mailbox in await store.mailboxes(account_id) if mailbox.name == "INBOX")
        changes = await store.changes(account_id, inbox.id)
        self._mailbox_id = inbox.id
        columns = zip(changes.uids, changes.octets, changes.blob_ids, strict=True)
        return Maildrop(inbox.uid_validity, [Entry(*values) for values in columns])

    # Transaction

    async def _on_maildrop(self, command: Command | SaslResponse) -> None:
        maildrop = self._session.maildrop
        match command:
            case Stat():
                count, total = maildrop.stat()
                await self._send(replies.ok(f"{count} {total}"))
            case List(None):
                lines = [f"{msg} {entry.octets}" for msg, entry in maildrop.remaining()]
                await self._send(replies.listing(f"{len(lines)} messages", lines))
            case List(int(msg)):
                await self._send(replies.ok(f"{msg} {maildrop.entry(msg).octets}"))
            case Uidl(None):
                lines = [f"{msg} {maildrop.unique_id(msg)}" for msg, _ in maildrop.remaining()]
                await self._send(replies.listing("unique ids", lines))
            case Uidl(int(msg)):
                await self._send(replies.ok(f"{msg} {maildrop.unique_id(msg)}"))
            case Retr(msg):
                octets = await self._octets(maildrop.entry(msg))
                RETRIEVED.inc()
                await self._send(replies.message(octets, f"{len(octets)} octets"))
            case Top(msg, lines_wanted):
                octets = await self._octets(maildrop.entry(msg))
                await self._send(replies.message(replies.top(octets, lines_wanted), "top of message"))
            case Dele(msg):
                maildrop.delete(msg)
                await self._send(replies.ok(f"message {msg} deleted"))
            case Rset():
                maildrop.reset()
                count, total = maildrop.stat()
                await self._send(replies.ok(f"{count} messages ({total} octets)"))

    async def _octets(self, entry: Entry) -> bytes:
        """Raises NoSuchMessage: removed by an IMAP session meanwhile. Unavailable."""
        assert self._principal is not None, "only after login"
        try:
            return (await self._shared.store.bodies(self._principal.account_id, [entry.blob_id]))[0]
        except NotFound as error:
            raise NoSuchMessage("this message was removed by another session") from error

    async def _quit(self) -> None:
        """In TRANSACTION: remove what is marked, while the lock is surely ours (RFC 1939 §6)."""
        if not self._session.quit():
            raise Hangup(replies.ok("bye"))
        assert self._principal is not None, "only after login"
        assert self._mailbox_id is not None, "only after login"
        assert self._lock is not None, "only after login"
        marked = self._session.maildrop.marked_uids()
        if marked:
            try:
                await self._lock.renew()
                wanted = Expunge(uids=marked, force=True)
                await self._shared.store.expunge(self._principal.account_id, self._mailbox_id, wanted)
            except StoreError as error:
                failure = TemporaryFailure("the messages may not have been removed; connect again")
                raise Hangup(failure.reply()) from error
        raise Hangup(replies.ok("bye"))
