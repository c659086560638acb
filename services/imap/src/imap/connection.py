"""One IMAP connection: octets in, commands done one after the other, octets out."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from contextlib import ExitStack
from typing import Final
from uuid import uuid4

import structlog

from imap.commands import fetch, mailboxes, messages, search
from imap.commands.login import MAX_FAILURES, Logins
from imap.metrics import COMMANDS, CONNECTIONS
from imap.session import Done, Session, Shared
from mail_proto.imap import commands as c
from mail_proto.imap.errors import ImapFault, Refused, SyntaxFault, status
from mail_proto.imap.framing import ContinuationNeeded, Framing, FramingLost, Line, LiteralRefused
from mail_proto.imap.states import State, check_allowed
from mail_proto.sasl import Offer, SaslFault, UnknownMechanism, decode_response
from mail_runtime.auth import Exchange, offer
from mail_runtime.contracts import errors as store_errors
from mail_runtime.contracts.store import Principal
from mail_runtime.listeners import Client
from mail_runtime.loopback import is_loopback
from mail_runtime.starttls import upgrade

log = structlog.get_logger()

READ_OCTETS: Final = 65_536
# All of the time before login (RFC 3501 leaves it open), and the autologout timer after it (§5.4: 30 minutes).
LOGIN_TIMEOUT_S: Final = 60.0
IDLE_TIMEOUT_S: Final = 1_800.0
# A client that doesn't read for this long is gone.
SEND_TIMEOUT_S: Final = 120.0
# How often IDLE looks by itself: notifications may be lost.
RECHECK_S: Final = 60.0
CLOSE_TIMEOUT_S: Final = 5.0
MAX_ERRORS: Final = 20
CAPABILITIES: Final = (
    "IMAP4rev1 LITERAL+ SASL-IR ID ENABLE IDLE NAMESPACE UIDPLUS MOVE UNSELECT CHILDREN SPECIAL-USE"
    " SORT SORT=DISPLAY THREAD=ORDEREDSUBJECT THREAD=REFERENCES APPENDLIMIT="
)

_CODES: Final[dict[type[store_errors.StoreError], str]] = {
    store_errors.Unavailable: "UNAVAILABLE",
    store_errors.NotFound: "NONEXISTENT",
    store_errors.Conflict: "ALREADYEXISTS",
    store_errors.Refused: "CANNOT",
    store_errors.TooLarge: "TOOBIG",
    store_errors.OverQuota: "OVERQUOTA",
}


class Hangup(Exception):
    """Say BYE with this text and close."""


class ClientGone(Exception):
    """The client closed the connection."""


class Connection:
    """Lives as long as its task, which runs `run`."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        shared: Shared,
        tls: ssl.SSLContext | None,
        client: Client,
    ) -> None:
        self._reader, self._writer, self._shared, self._tls = reader, writer, shared, tls
        self._secure = client.is_secure
        self._peer = client.address
        self._framing = Framing()
        self._session = Session(shared, self._send)
        self._logins = Logins(shared.settings.login_failure_delay_s, self._peer)
        self._login_deadline = asyncio.get_running_loop().time() + LOGIN_TIMEOUT_S
        self._errors = 0
        self._stopping = False
        self._kicked = ""
        self._waits = False
        self._task = asyncio.current_task()

    def stop(self) -> None:
        """End with BYE as soon as no command is under way."""
        self._stopping = True
        if self._waits and self._task is not None:
            self._task.cancel()

    def _kick(self, reason: str) -> None:
        """End with BYE and this reason as soon as no command is under way: the login doesn't hold any more."""
        self._kicked = reason
        if self._waits and self._task is not None:
            self._task.cancel()

    async def run(self, *, is_full: bool) -> None:
        """Serve until the client leaves, breaks the rules too often, or the service stops."""
        structlog.contextvars.bind_contextvars(conn_id=uuid4().hex[:12])
        CONNECTIONS.inc()
        bye: str | None = None
        with ExitStack() as watching:
            try:
                if is_full:
                    raise Hangup("too many connections; try again later")
                await self._converse(watching)
            except Hangup as hangup:
                bye = str(hangup)
            except FramingLost as error:
                bye = str(error)
            except TimeoutError:
                bye = "time-out; closing the connection"
            except (ClientGone, OSError):
                log.debug("client_gone", peer=self._peer)
            except asyncio.CancelledError:
                if not self._stopping and not self._kicked:
                    raise
                bye = self._kicked or "the service is stopping; connect again"
            except Exception:
                log.exception("connection_bug", peer=self._peer)
                bye = "internal error"
            finally:
                CONNECTIONS.dec()
                await self._close(bye)
        if self._session.principal is not None:
            await self._shared.watches.release(self._session.account_id)

    async def _close(self, bye: str | None) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                if bye is not None:
                    self._writer.write(status(b"*", b"BYE", bye))
                self._writer.close()
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self._writer.transport.abort()

    async def _send(self, octets: bytes) -> None:
        self._writer.write(octets)
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await self._writer.drain()

    async def _next_line(self) -> bytes:
        """The next complete command. Raises ClientGone, FramingLost, TimeoutError."""
        while True:
            event = self._framing.next_event()
            match event:
                case Line(octets):
                    return octets
                case ContinuationNeeded():
                    await self._send(b"+ go on\r\n")
                case LiteralRefused(tag, is_append):
                    await self._fail(tag, self._literal_fault(is_append=is_append))
                case None:
                    await self._read()

    def _literal_fault(self, *, is_append: bool) -> ImapFault:
        if not is_append:
            return SyntaxFault("the literal is too large")
        if self._session.principal is None:
            return SyntaxFault(f"not allowed {self._session.state.value}")
        return Refused("the message is too large", "TOOBIG")

    async def _read(self) -> None:
        timeout_s = IDLE_TIMEOUT_S
        if self._session.principal is None:
            timeout_s = max(0.0, self._login_deadline - asyncio.get_running_loop().time())
        if self._kicked or self._stopping:
            raise Hangup(self._kicked or "the service is stopping; connect again")
        self._waits = True
        try:
            async with asyncio.timeout(timeout_s):
                octets = await self._reader.read(READ_OCTETS)
        finally:
            self._waits = False
        if not octets:
            raise ClientGone
        self._framing.feed(octets)

    async def _converse(self, watching: ExitStack) -> None:
        greeting = f"{self._shared.settings.hostname} Postroom is ready"
        await self._send(status(b"*", b"OK", greeting, f"CAPABILITY {self._capabilities()}"))
        while True:
            octets = await self._next_line()
            try:
                tag, command = c.parse_command(octets)
            except c.TaggedFault as fault:
                await self._fail(fault.tag, fault.fault)
                continue
            await self._execute(tag, command, watching)

    async def _fail(self, tag: bytes, fault: ImapFault) -> None:
        """Answer an error; too many of them end the connection."""
        if isinstance(fault, SyntaxFault):
            self._errors += 1
        await self._send(fault.reply(tag))
        if self._errors > MAX_ERRORS:
            raise Hangup("too many errors")

    async def _execute(self, tag: bytes, command: c.Command, watching: ExitStack) -> None:
        name = command.name if isinstance(command, c.Simple) else type(command).__name__.upper()
        try:
            check_allowed(self._session.state, command)
            done = await self._run_command(tag, command, watching)
            if done is None:
                return
            await self._tell_news(command)
        except ImapFault as fault:
            COMMANDS.labels(name, "refused").inc()
            await self._tell_known_news(command)
            await self._fail(tag, fault)
            if self._logins.failures >= MAX_FAILURES and self._session.principal is None:
                raise Hangup("too many failed logins") from fault
        except store_errors.StoreError as error:
            COMMANDS.labels(name, "unavailable" if isinstance(error, store_errors.Unavailable) else "refused").inc()
            await self._fail(tag, Refused(str(error), _CODES.get(type(error), "UNAVAILABLE")))
        else:
            COMMANDS.labels(name, "done").inc()
            if self._session.principal is not None:
                self._errors = 0
            await self._send(status(tag, b"OK", done.text, done.code))

    async def _run_command(self, tag: bytes, command: c.Command, watching: ExitStack) -> Done | None:
        """How the command ended; None: it has answered by itself."""
        session = self._session
        match command:
            case c.Simple(name):
                return await self._simple(tag, name)
            case c.Identify():
                await self._send(b'* ID ("name" "Postroom")\r\n')
                return Done("that is who we are")
            case c.Enable():
                await self._send(b"* ENABLED\r\n")  # of what we offer nothing has to be enabled
                return Done("nothing to enable")
            case c.Login(user, password):
                return await self._log_in(user, password, watching)
            case c.Authenticate():
                return await self._authenticate(command, watching)
            case c.Select():
                return await mailboxes.select(session, command)
            case c.ListMailboxes():
                return await mailboxes.list_mailboxes(session, command)
            case c.Status():
                return await mailboxes.status(session, command)
            case c.OnMailbox():
                return await mailboxes.on_mailbox(session, command)
            case c.Rename():
                return await mailboxes.rename(session, command)
            case c.Append():
                return await messages.append(session, command)
            case c.Expunge():
                return await messages.expunge(session, command)
            case c.StoreFlags():
                return await messages.store_flags(session, command)
            case c.Copy():
                return await messages.copy(session, command)
            case c.Search():
                return await search.search(session, command)
            case c.Sort():
                return await search.sort(session, command)
            case c.Thread():
                return await search.thread(session, command)
            case c.Fetch():
                return await fetch.fetch(session, command)

    async def _simple(self, tag: bytes, name: str) -> Done | None:
        session = self._session
        match name:
            case "CAPABILITY":
                await self._send(f"* CAPABILITY {self._capabilities()}\r\n".encode("ascii"))
                return Done("capabilities")
            case "NAMESPACE":
                await self._send(mailboxes.NAMESPACE)
                return Done("namespaces")
            case "STARTTLS":
                await self._start_tls(tag)
                return None
            case "LOGOUT":
                await self._send(status(b"*", b"BYE", "logging out") + status(tag, b"OK", "bye"))
                raise ClientGone
            case "IDLE":
                await self._idle()
                return Done("idled")
            case "CLOSE":
                return await messages.close(session)
            case "UNSELECT":
                session.unselect()
                return Done("unselected")
            case _:  # NOOP, CHECK: the client asks for news
                session.watch.changed.set()
                return Done("that is all")

    # Login

    @property
    def _login_allowed(self) -> bool:
        on_loopback = self._shared.settings.plaintext_login_on_loopback and is_loopback(self._peer)
        return self._secure or on_loopback

    @property
    def _offer(self) -> Offer:
        tls = self._writer.get_extra_info("ssl_object")
        return offer(tls, self._shared.end_point, self._shared.settings.oauth_issuers)

    def _capabilities(self) -> str:
        words = [f"{CAPABILITIES}{self._shared.settings.max_message_octets}"]
        if self._session.state is State.NOT_AUTHENTICATED:
            if self._tls is not None and not self._secure:
                words.append("STARTTLS")
            names = self._offer.names if self._login_allowed else ()
            words += [f"AUTH={name}" for name in names] or ["LOGINDISABLED"]
        return " ".join(words)

    async def _start_tls(self, tag: bytes) -> None:
        if self._secure or self._tls is None:
            raise SyntaxFault("TLS is active already" if self._secure else "TLS isn't offered here")
        self._writer.write(status(tag, b"OK", "begin TLS"))
        await upgrade(self._reader, self._writer, self._tls)
        # What came in clear behind the command is forgotten (RFC 3501 §6.2.1).
        self._framing.clear()
        self._secure = True

    async def _log_in(self, user: str, password: str, watching: ExitStack) -> Done:
        if not self._login_allowed:
            raise Refused("start TLS before you log in", "PRIVACYREQUIRED")
        principal = await self._logins.check(self._session, user, password)
        await self._logged_in(principal, watching)
        return Done("logged in", f"CAPABILITY {self._capabilities()}")

    async def _logged_in(self, principal: Principal, watching: ExitStack) -> None:
        self._session.principal = principal
        self._framing.max_append_octets = self._shared.settings.max_message_octets
        self._session.watch = watching.enter_context(self._shared.watches.watching(principal.account_id, self._kick))
        await self._shared.watches.subscribe(principal.account_id)

    async def _authenticate(self, command: c.Authenticate, watching: ExitStack) -> Done:
        if not self._login_allowed:
            raise Refused("start TLS before you log in", "PRIVACYREQUIRED")
        store = self._session.store
        try:
            exchange = Exchange(store, self._offer, command.mechanism, protocol="imap", peer=self._peer)
        except UnknownMechanism as fault:
            raise Refused(str(fault), "CANNOT") from fault
        answer = await self._logins.respond(exchange, None if command.initial is None else _decoded(command.initial))
        while isinstance(answer, bytes):
            await self._send(b"+ " + b64encode(answer) + b"\r\n")
            line = await self._next_line()
            if line == b"*":
                raise SyntaxFault("cancelled")
            answer = await self._logins.respond(exchange, _decoded(line))
        await self._logged_in(answer, watching)
        return Done("logged in", f"CAPABILITY {self._capabilities()}")

    # News of the selected mailbox

    async def _tell_news(self, command: c.Command) -> None:
        """Before the tagged OK: what changed in the selected mailbox, as far as it may be said now."""
        selected = self._session.selected
        if selected is None or isinstance(command, c.Select):
            return
        watch = self._session.watch
        if watch.changed.is_set():
            try:
                await self._session.refresh()
            except store_errors.NotFound as error:
                raise Hangup("the mailbox was deleted") from error
            except store_errors.Unavailable:
                watch.changed.set()  # nothing is lost: the next command tries again
        await self._tell_known_news(command)

    async def _tell_known_news(self, command: c.Command) -> None:
        selected = self._session.selected
        if selected is None:
            return
        # RFC 3501 §7.4.1, RFC 5256 §3: sequence numbers stay as they are during FETCH, STORE, SEARCH, SORT and THREAD;
        # not so with UID.
        by_number = c.Fetch | c.StoreFlags | c.Search | c.Sort | c.Thread
        numbered = isinstance(command, by_number) and not command.by_uid
        with_uid = isinstance(command, c.Fetch | c.StoreFlags) and command.by_uid
        news = selected.view.announce(expunges=not numbered, with_uid=with_uid)
        if news:
            await self._send(news)

    async def _idle(self) -> None:
        """RFC 2177: push until the client says DONE."""
        await self._send(b"+ idling\r\n")
        line = asyncio.create_task(self._next_line(), name="idle-line")
        try:
            while not line.done():
                changed = asyncio.create_task(self._session.watch.changed.wait(), name="idle-changed")
                try:
                    await asyncio.wait({line, changed}, timeout=RECHECK_S, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    changed.cancel()
                if not line.done():
                    await self._push()
            if line.result().upper() != b"DONE":
                raise SyntaxFault("IDLE ends with DONE")
        finally:
            line.cancel()
            await asyncio.gather(line, return_exceptions=True)

    async def _push(self) -> None:
        selected = self._session.selected
        if selected is None:
            self._session.watch.changed.clear()
            return
        try:
            await self._session.refresh()
        except store_errors.NotFound as error:
            raise Hangup("the mailbox was deleted") from error
        except store_errors.Unavailable as error:
            log.info("push_waits", error=str(error))
            await asyncio.sleep(1.0)
            self._session.watch.changed.set()
            return
        if selected.view.has_news:
            await self._send(selected.view.announce(expunges=True))


def _decoded(line: bytes) -> bytes:
    try:
        return decode_response(line)
    except SaslFault as fault:
        raise SyntaxFault(str(fault)) from fault
