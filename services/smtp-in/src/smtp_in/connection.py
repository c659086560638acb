"""One SMTP or LMTP connection: commands in, replies out (RFC 5321, RFC 2033, RFC 6409).

aiosmtpd gives the protocol object, its session and envelope, and the table of `smtp_…` methods. What it
answers itself is replaced where it would reply without an enhanced status code, compare mechanisms by case,
know STARTTLS only, or read mail data line by line: this subclass has its own loop over `Wire`.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import Any, Final, Protocol
from uuid import UUID, uuid4

import structlog
from aiosmtpd.smtp import SMTP, Envelope, Session

from mail_proto.sasl import Offer
from mail_proto.smtp import arguments, trace
from mail_proto.smtp.errors import (
    ArgumentFault,
    BadSequence,
    MessageTooLarge,
    NonAsciiAddress,
    SmtpFault,
    SyntaxFault,
    UnknownCommand,
)
from mail_proto.smtp.replies import Reply
from mail_runtime.auth import Accounts, offer
from mail_runtime.contracts.errors import Refused, StoreError
from mail_runtime.contracts.store import Principal
from mail_runtime.listeners import peer_address
from mail_runtime.loopback import is_loopback
from smtp_in import login, transfer
from smtp_in.listener import Listener
from smtp_in.metrics import CONNECTIONS
from smtp_in.recipients import REFUSALS, Recipients
from smtp_in.settings import Settings
from smtp_in.wire import ClientGone, MemoryBudget, Wire

log = structlog.get_logger()

# RFC 5321 §4.5.3.1.4 wants 512 at least; SMTPUTF8 paths (RFC 6531) and parameters may be longer.
MAX_COMMAND_OCTETS: Final = 4096
# RFC 5321 §4.5.3.1.8 wants 100 at least.
MAX_RECIPIENTS: Final = 1000
# Error replies without a message delivered in between; address harvesting gives up early.
MAX_ERRORS: Final = 30
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")
_OK: Final = Reply(250, "2.0.0", "OK")
_BUSY: Final = Reply(421, "4.7.0", "too many connections; try again later")
_STOPPING: Final = Reply(421, "4.3.2", "the service is stopping; try again later")


class Store(Accounts, transfer.Ingest, Protocol):
    """What a connection asks of the store."""

    async def check_sender(self, account_id: UUID, reverse_path: str) -> None: ...


class Hangup(Exception):
    """Say this last reply and close."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.text)
        self.reply = reply


class Refusal(SmtpFault):
    """A well-formed command that policy doesn't allow."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.text)
        self._reply = reply

    def reply(self) -> Reply:
        return self._reply


class Shared:
    """What all connections of the process use together."""

    def __init__(self, settings: Settings, store: Store, recipients: Recipients) -> None:
        self.settings, self.store, self.recipients = settings, store, recipients
        self.budget = MemoryBudget(settings.max_buffered_octets)


class Connection(SMTP):
    """Created by the listener for each client; lives as long as its task."""

    line_length_limit = 65536  # of the stream's buffer: it holds twice that before reading pauses

    def __init__(
        self, listener: Listener, shared: Shared, on_open: Any, loop: asyncio.AbstractEventLoop, client: str | None
    ) -> None:
        """`client`: its address where a balancer said it; None: it is who is connected."""
        super().__init__(None, hostname=shared.settings.hostname, loop=loop)
        self._listener, self._shared, self._on_open = listener, shared, on_open
        self._secure = listener.implicit_tls
        self._principal: Principal | None = None
        self._errors = 0
        self._stopping = False
        self._refused = False
        self._peer = client or ""
        self.session: Session = Session(loop)
        self.envelope: Envelope = Envelope()

    # Life of the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called once: TLS that starts later changes the transport underneath (mail_runtime.starttls)."""
        asyncio.StreamReaderProtocol.connection_made(self, transport)
        self.transport = transport
        self._peer = self._peer or peer_address(transport)
        self._wire = Wire(self._reader, self._writer)
        self._login = login.Login(
            self._shared.store, self._wire, self._peer, self._shared.settings.login_failure_delay_s
        )
        task = self.loop.create_task(self._handle_client(), name="smtp-connection")
        self._handler_coroutine = task
        self._refused = not self._on_open(task, self)

    def connection_lost(self, error: Exception | None) -> None:
        """The task notices: its read ends. What the store is doing for it may finish."""
        asyncio.StreamReaderProtocol.connection_lost(self, error)
        self.transport = None

    def eof_received(self) -> bool | None:
        """What came before the end of input is still answered."""
        return asyncio.StreamReaderProtocol.eof_received(self)

    def stop(self) -> None:
        """End with 421 as soon as nothing is under way (RFC 5321 §3.8)."""
        self._stopping = True
        if self._wire.waits_for_command and self._handler_coroutine is not None:
            self._handler_coroutine.cancel()

    async def _handle_client(self) -> None:
        structlog.contextvars.bind_contextvars(conn_id=uuid4().hex[:12], listener=self._listener.name)
        gauge = CONNECTIONS.labels(self._listener.name)
        gauge.inc()
        try:
            await self._converse()
        except Hangup as hangup:
            self._wire.reply(hangup.reply)
        except ClientGone:
            log.debug("client_gone", peer=self._peer)
        except TimeoutError:
            self._wire.reply(Reply(421, "4.4.2", "time-out; closing the connection"))
        except OSError as error:
            log.debug("connection_broken", peer=self._peer, error=repr(error))
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            self._wire.reply(_STOPPING)
        except Exception:
            log.exception("connection_bug", peer=self._peer)
            self._wire.reply(Reply(421, "4.3.0", "internal error; closing the connection"))
        finally:
            gauge.dec()
            await self._wire.close()

    async def _converse(self) -> None:
        if self._refused:
            raise Hangup(_BUSY)
        kind = "LMTP" if self._listener.lmtp else "ESMTP"
        self._wire.reply(Reply(220, "", f"{self.hostname} {kind} Postroom"))
        while True:
            if self._stopping:
                raise Hangup(_STOPPING)
            try:
                await self._command(await self._wire.line(login.MAX_RESPONSE_OCTETS))
            except SmtpFault as fault:
                self._answer(fault.reply())
            except StoreError:
                self._answer(transfer.TEMPORARY)
            if self._errors > MAX_ERRORS:
                raise Hangup(Reply(421, "4.7.0", "too many errors"))

    def _answer(self, reply: Reply) -> None:
        if reply.code >= 500:
            self._errors += 1
        self._wire.reply(reply)

    async def _command(self, line: bytes) -> None:
        word, _, rest = line.partition(b" ")
        keyword = word.upper()
        if _CONTROL.search(line):
            raise SyntaxFault("control characters in a command")
        method = self._smtp_methods.get(keyword.decode("ascii")) if keyword.isalpha() else None
        if method is None:
            raise UnknownCommand("unknown command")
        if len(line) > MAX_COMMAND_OCTETS and keyword != b"AUTH":
            raise SyntaxFault("line too long")
        try:
            argument = rest.decode("utf-8").strip(" ")
        except UnicodeDecodeError as error:
            raise NonAsciiAddress("not UTF-8") from error
        await method(argument)

    # Greeting and session

    async def smtp_EHLO(self, hostname: str) -> None:
        if self._listener.lmtp:
            raise UnknownCommand("this is LMTP: use LHLO")
        self._greet(hostname, extended=True)
        self._wire.reply(Reply(250, "", "\n".join([self.hostname, *self._extensions()])))

    async def smtp_LHLO(self, hostname: str) -> None:
        if not self._listener.lmtp:
            raise UnknownCommand("this is SMTP: use EHLO")
        self._greet(hostname, extended=True)
        self._wire.reply(Reply(250, "", "\n".join([self.hostname, *self._extensions()])))

    async def smtp_HELO(self, hostname: str) -> None:
        if self._listener.lmtp:
            raise UnknownCommand("this is LMTP: use LHLO")
        self._greet(hostname, extended=False)
        self._wire.reply(Reply(250, "", self.hostname))

    def _greet(self, hostname: str, *, extended: bool) -> None:
        if not hostname:
            raise ArgumentFault("say who you are")
        self._set_rset_state()  # type: ignore[no-untyped-call]
        self.session.extended_smtp = extended
        self.session.host_name = hostname

    def _extensions(self) -> list[str]:
        lines = ["PIPELINING", f"SIZE {self._shared.settings.max_message_octets}", "8BITMIME", "SMTPUTF8"]
        if self._listener.tls is not None and not self._secure:
            lines.append("STARTTLS")
        if self._listener.submission and self._login_allowed:
            lines.append("AUTH " + " ".join(self._offer.names))
        return [*lines, "ENHANCEDSTATUSCODES", "HELP"]

    @property
    def _offer(self) -> Offer:
        return offer(self._wire.tls, self._shared.settings.oauth_issuers)

    @property
    def _login_allowed(self) -> bool:
        loopback_too = self._shared.settings.plaintext_login_on_loopback
        return self._secure or (loopback_too and is_loopback(self._peer))

    async def smtp_STARTTLS(self, arg: str) -> None:
        if self._listener.tls is None:
            raise UnknownCommand("TLS is not available")
        if self._secure:
            raise BadSequence("TLS is already active")
        if arg:
            raise ArgumentFault("STARTTLS takes no argument")
        self._wire.reply(Reply(220, "2.0.0", "ready to start TLS"))
        await self._wire.start_tls(self._listener.tls)
        # RFC 3207 §4.2: back to the state right after the greeting.
        self._secure = True
        self._principal = None
        self.session = Session(self.loop)
        self._set_rset_state()  # type: ignore[no-untyped-call]

    async def smtp_AUTH(self, arg: str) -> None:
        if not self._listener.submission:
            raise UnknownCommand("AUTH is for submission ports")
        self._needs_greeting()
        if self._principal is not None or self.envelope.mail_from is not None:
            raise BadSequence("AUTH comes once, before MAIL")
        if not self._login_allowed:
            raise Refusal(Reply(538, "5.7.11", "start TLS before you log in"))
        mechanism, initial = login.split_auth(arg)
        try:
            self._principal = await self._login.run(mechanism, initial, self._offer)
        except login.LoginFailed as fault:
            if self._login.failures >= login.MAX_FAILURES:
                raise Hangup(Reply(421, "4.7.0", "too many failed logins")) from fault
            raise
        self._wire.reply(Reply(235, "2.7.0", "authenticated"))

    async def smtp_NOOP(self, arg: str) -> None:
        self._wire.reply(_OK)

    async def smtp_RSET(self, arg: str) -> None:
        if arg:
            raise ArgumentFault("RSET takes no argument")
        self._set_rset_state()  # type: ignore[no-untyped-call]
        self._wire.reply(_OK)

    async def smtp_QUIT(self, arg: str) -> None:
        if arg:
            raise ArgumentFault("QUIT takes no argument")
        raise Hangup(Reply(221, "2.0.0", "bye"))

    async def smtp_HELP(self, arg: str) -> None:
        names = " ".join(sorted(self._smtp_methods))
        self._wire.reply(Reply(214, "2.0.0", f"commands: {names}"))

    async def smtp_VRFY(self, arg: str) -> None:
        if not arg:
            raise ArgumentFault("write VRFY and an address")
        self._wire.reply(Reply(252, "2.1.5", "send mail to find out"))

    async def smtp_EXPN(self, arg: str) -> None:
        self._answer(Reply(502, "5.5.1", "EXPN is not available"))

    # Mail transaction

    def _needs_greeting(self) -> None:
        if not self.session.host_name:
            raise BadSequence("say LHLO first" if self._listener.lmtp else "say EHLO first")

    async def smtp_MAIL(self, arg: str | None) -> None:
        self._needs_greeting()
        if self._listener.submission and self._principal is None:
            raise Refusal(Reply(530, "5.7.0", "log in first"))
        if self.envelope.mail_from is not None:
            raise BadSequence("a mail transaction is open already")
        mail = arguments.parse_mail(arg or "")
        limit = self._shared.settings.max_message_octets
        if mail.size_octets is not None and mail.size_octets > limit:
            raise MessageTooLarge(f"messages may have {limit} octets")
        await self._check_sender(mail.reverse_path)
        self.envelope.mail_from = mail.reverse_path
        self.envelope.smtp_utf8 = mail.smtputf8
        self._wire.reply(Reply(250, "2.1.0", "OK"))

    async def _check_sender(self, reverse_path: str) -> None:
        """On submission one writes as oneself, or with the null reverse path (RFC 6409 §6.1, RFC 8098 §3).

        Oneself is the account's address, with a detail or in a domain that is an alias of its domain, and an alias
        that leads to the account: the store knows these.
        """
        if self._principal is None or not reverse_path:
            return
        own = {address.casefold() for address in self._principal.addresses}
        if reverse_path.casefold() in own:
            return
        try:
            await self._shared.store.check_sender(self._principal.account_id, reverse_path)
        except Refused as error:
            raise Refusal(Reply(553, "5.7.1", "this address is not yours")) from error

    async def smtp_RCPT(self, arg: str | None) -> None:
        self._needs_greeting()
        if self.envelope.mail_from is None:
            raise BadSequence("MAIL comes first")
        recipient = arguments.parse_rcpt(arg or "", self.envelope.smtp_utf8)
        if recipient == arguments.POSTMASTER:
            recipient = f"{arguments.POSTMASTER}@{self.hostname}"
        if len(self.envelope.rcpt_tos) >= MAX_RECIPIENTS:
            raise Refusal(Reply(452, "4.5.3", "too many recipients"))
        account_id = self._principal.account_id if self._principal else None
        status = await self._shared.recipients.status(recipient, self.envelope.mail_from, account_id)
        if (refusal := REFUSALS.get(status)) is not None:
            raise Refusal(refusal)
        if status == "remote" and self._principal is None:
            raise Refusal(Reply(550, "5.7.1", "relaying is refused"))
        if recipient not in self.envelope.rcpt_tos or self._listener.lmtp:
            self.envelope.rcpt_tos.append(recipient)
        self._wire.reply(Reply(250, "2.1.5", "OK"))

    async def smtp_DATA(self, arg: str) -> None:
        self._needs_greeting()
        if arg:
            raise ArgumentFault("DATA takes no argument")
        if self.envelope.mail_from is None or not self.envelope.rcpt_tos:
            # RFC 5321 §3.3; RFC 2033 §4.2 asks LMTP for the same.
            raise BadSequence("no valid recipients" if self.envelope.mail_from is not None else "MAIL comes first")
        envelope = self._transfer_envelope()
        self._wire.reply(Reply(354, "", "end with CRLF.CRLF"))
        limit = self._shared.settings.max_message_octets
        try:
            async with self._wire.message(limit, self._shared.budget) as message:
                replies = await self._transfer(envelope, message)
        except SmtpFault as fault:
            replies = [fault.reply()] * (len(envelope.recipients) if self._listener.lmtp else 1)
        self._set_post_data_state()  # type: ignore[no-untyped-call]
        for reply in replies:
            self._answer(reply)
            if not reply.is_error:
                self._errors = 0

    def _transfer_envelope(self) -> transfer.Envelope:
        return transfer.Envelope(
            listener=self._listener.name,
            protocol=trace.protocol_name(
                lmtp=self._listener.lmtp,
                extended=self.session.extended_smtp,
                tls=self._secure,
                authenticated=self._principal is not None,
                smtputf8=self.envelope.smtp_utf8,
            ),
            client_name=self.session.host_name or "",
            client_address=self._peer,
            server_name=self.hostname,
            reverse_path=self.envelope.mail_from or "",
            recipients=tuple(self.envelope.rcpt_tos),
            submitted_by=self._principal.account_id if self._principal else None,
            smtputf8=self.envelope.smtp_utf8,
        )

    async def _transfer(self, envelope: transfer.Envelope, message: bytes) -> list[Reply]:
        """One reply, or in LMTP one per recipient in their order (RFC 2033 §4.2)."""
        reply = await transfer.transfer(self._shared.store, envelope, message)
        if reply.code in transfer.RECIPIENTS_FAULT:
            self._shared.recipients.forget(list(envelope.recipients))
        if not self._listener.lmtp:
            return [reply]
        if reply.code not in transfer.RECIPIENTS_FAULT or len(envelope.recipients) == 1:
            return [reply] * len(envelope.recipients)
        # One recipient spoilt it for all: each by itself, since LMTP can say which.
        return [
            await transfer.transfer(self._shared.store, replace(envelope, recipients=(recipient,)), message)
            for recipient in envelope.recipients
        ]
