"""One SMTP or LMTP connection: the only I/O of the dialogue (RFC 5321, RFC 2033, RFC 6409).

aiosmtpd gives the protocol object that a connection is. Its dialogue is replaced by `mail_proto.smtp.session`: it
answers without enhanced status codes, knows STARTTLS only, compares mechanisms by case, and reads mail data line by
line. What a session asks is carried out here, one step at a time: by the store, the screen, or the transport.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, Protocol
from uuid import UUID, uuid4

import structlog
from aiosmtpd.smtp import SMTP

from mail_proto.sasl import Offer as Mechanisms
from mail_proto.smtp.arguments import MailArguments, RcptArguments
from mail_proto.smtp.errors import SmtpFault
from mail_proto.smtp.offer import Offer
from mail_proto.smtp.replies import Reply
from mail_proto.smtp.session import ServerSession
from mail_proto.smtp.steps import (
    Authenticate,
    CheckRecipient,
    CheckSender,
    Close,
    Deliver,
    Greeted,
    Introduced,
    Respond,
    StartTls,
    Step,
)
from mail_runtime import tracing
from mail_runtime.accepting import Networks, is_in
from mail_runtime.auth import Accounts, offer
from mail_runtime.contracts.errors import Refused, StoreError
from mail_runtime.contracts.store import Principal
from mail_runtime.listeners import peer_address
from mail_runtime.loopback import is_loopback
from smtp_in import submission, transfer
from smtp_in.contents import in_lines
from smtp_in.listener import Listener
from smtp_in.login import Login
from smtp_in.metrics import CONNECTIONS, STEPS
from smtp_in.recipients import REFUSALS, Recipients
from smtp_in.screening import OpenDoor, Refusal, Screen, Visitor
from smtp_in.settings import Settings
from smtp_in.wire import ClientGone, MemoryBudget, Patience, Share, Wire

log = structlog.get_logger()

# What may be in the stream's buffer is twice that before reading pauses.
STREAM_OCTETS: Final = 65_536
# Extensions that hold on the whole way of a message.
HONOURED: Final = frozenset({"BINARYMIME", "DSN"})
_BUSY: Final = Reply(421, "4.7.0", "too many connections; try again later")
_STOPPING: Final = Reply(421, "4.3.2", "the service is stopping; try again later")


class Store(Accounts, transfer.Ingest, submission.Copies, Protocol):
    """What a connection asks of the store."""

    async def check_sender(self, account_id: UUID, reverse_path: str) -> None: ...


class Shared:
    """What all connections of the process use together. `screen` makes the one of a connection."""

    def __init__(
        self, settings: Settings, store: Store, recipients: Recipients, screen: Callable[[], Screen] = OpenDoor
    ) -> None:
        self.settings, self.store, self.recipients, self.screen = settings, store, recipients, screen
        self.budget = MemoryBudget(settings.max_buffered_octets)
        self.rules = settings.content_rules
        self.proxies: Networks = settings.xclient_networks
        self.patience = Patience(settings.command_timeout_s, settings.data_timeout_s, settings.message_timeout_s)


class Connection(SMTP):
    """Created by the listener for each client; lives as long as its task."""

    def __init__(
        self, listener: Listener, shared: Shared, on_open: Any, loop: asyncio.AbstractEventLoop, client: str | None
    ) -> None:
        """`client`: its address where a balancer said it; None: it is who is connected."""
        # aiosmtpd's own __init__ looks through all attributes for handlers, 0.17 ms each time; none is used here.
        asyncio.StreamReaderProtocol.__init__(
            self,
            asyncio.StreamReader(limit=STREAM_OCTETS, loop=loop),
            client_connected_cb=self._cb_client_connected,
            loop=loop,
        )
        self.loop, self.hostname, self.transport = loop, shared.settings.hostname, None
        self._listener, self._shared, self._on_open = listener, shared, on_open
        self._client = client
        self._stopping = self._refused = False

    # Life of the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called once: TLS that starts later changes the transport underneath (mail_runtime.starttls)."""
        asyncio.StreamReaderProtocol.connection_made(self, transport)
        self.transport = transport
        peer = self._client or peer_address(transport)
        self._wire = Wire(self._reader, self._writer)
        self._share = Share(self._shared.budget)
        self._screen = self._shared.screen()
        self._login = Login(self._shared.store, self._shared.settings.login_failure_delay_s)
        self._visitor = Visitor(self._listener, peer, is_secure=self._listener.implicit_tls)
        self._session = ServerSession(self._offer(), self._shared.rules, peer, is_secure=self._listener.implicit_tls)
        self._command_until = self._message_until = 0.0
        self._transaction: tracing.Span | None = None
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
        is_idle = self._wire.is_waiting and self._session.waits_for == "command"
        if is_idle and self._handler_coroutine is not None:
            self._handler_coroutine.cancel()

    async def _handle_client(self) -> None:
        structlog.contextvars.bind_contextvars(conn_id=uuid4().hex[:12], listener=self._listener.name)
        gauge = CONNECTIONS.labels(self._listener.name)
        gauge.inc()
        peer = self._visitor.address
        try:
            await self._converse()
        except ClientGone:
            log.debug("client_gone", peer=peer)
        except TimeoutError:
            self._session.say(Reply(421, "4.4.2", "time-out; closing the connection"))
        except OSError as error:
            log.debug("connection_broken", peer=peer, error=repr(error))
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            self._session.say(_STOPPING)
        except Exception:
            log.exception("connection_bug", peer=peer)
            self._session.say(Reply(421, "4.3.0", "internal error; closing the connection"))
        finally:
            gauge.dec()
            self._end_transaction()
            self._share.hold(0)
            await self._wire.close(self._session.output)
            await self._screen.ended(self._visitor)

    async def _converse(self) -> None:
        if self._refused:
            self._session.close(_BUSY)
        else:
            await self._meet()
        while True:
            if self._stopping and self._session.waits_for == "command":
                self._session.close(_STOPPING)
            step = self._session.next()
            if isinstance(step, Close):
                return
            if not self._share.hold(self._session.held_octets):
                is_whole = isinstance(step, Deliver)
                self._session.drop(is_whole=is_whole)
                self._share.hold(self._session.held_octets)
                if is_whole:
                    continue
            if step is None:
                self._session.feed(await self._wait())
            else:
                await self._carry_out(step)

    async def _wait(self) -> bytes:
        """Send what is queued and read on, within the time that the client has (RFC 5321 §4.5.3.2)."""
        now, patience = self.loop.time(), self._shared.patience
        if self._session.waits_for == "data":
            self._message_until = self._message_until or now + patience.message_s
            until = min(now + patience.data_s, self._message_until)
        else:
            self._message_until = 0.0
            # A line counts from the last reply on: one that comes octet by octet isn't waited for longer.
            if self._session.output or not self._command_until:
                self._command_until = now + patience.command_s
            until = self._command_until
        await self._wire.write(self._session.output)
        return await self._wire.read(until)

    async def _meet(self) -> None:
        """Greet, or not."""
        try:
            await self._screen.connected(self._visitor)
        except SmtpFault as fault:
            reply = fault.reply()
            if reply.code == 421:
                self._session.close(reply)
            else:
                self._session.turn_away(reply)
        else:
            self._session.greet()

    # Steps

    async def _carry_out(self, step: Step) -> None:
        visitor, session = self._visitor, self._session
        visitor.errors = session.errors
        start, outcome = time.perf_counter(), "done"
        if isinstance(step, CheckSender):
            self._end_transaction()
            self._transaction = tracing.Span("smtp_in.transaction", kind="server")
        try:
            with tracing.step(f"smtp_in.{type(step).__name__}"):
                await self._do(step)
        except SmtpFault as fault:
            outcome = "refused"
            await self._screen.refused(visitor)
            session.refused(fault.reply())
        except StoreError:
            outcome = "unavailable"
            session.refused(transfer.TEMPORARY)
        STEPS.labels(type(step).__name__, outcome).observe(time.perf_counter() - start)
        if isinstance(step, Deliver):
            self._end_transaction()

    async def _do(self, step: Step) -> None:
        visitor, session = self._visitor, self._session
        match step:
            case Greeted(name):
                visitor.name = name
                await self._screen.greeted(visitor)
                session.greeted()
            case CheckSender(mail):
                self._mail = mail
                await self._check_sender(mail.reverse_path)
                await self._screen.sender(visitor, mail)
                session.sender_accepted()
            case CheckRecipient(recipient):
                await self._check_recipient(self._mail, recipient)
                await self._screen.recipient(visitor, self._mail, recipient)
                session.recipient_accepted()
            case Deliver():
                session.delivered(await self._deliver(step))
            case StartTls():
                await self._start_tls()
            case Authenticate(mechanism, initial):
                answer = await self._login.begin(mechanism, initial, self._mechanisms, visitor.address)
                self._answer_login(answer)
            case Respond(response):
                self._answer_login(await self._login.respond(response))
            case Introduced():
                visitor.address, visitor.name, visitor.principal = session.client.address, "", None
                await self._meet()

    def _end_transaction(self) -> None:
        """What comes next belongs to another message."""
        if self._transaction is not None:
            self._transaction.end()
            self._transaction = None

    @property
    def _mechanisms(self) -> Mechanisms:
        return offer(self._wire.tls, self._shared.settings.oauth_issuers)

    def _offer(self) -> Offer:
        """As the connection is now."""
        settings, peer = self._shared.settings, self._visitor.address
        connected = peer_address(self._writer)
        return Offer(
            settings.hostname,
            settings.max_message_octets,
            lmtp=self._listener.lmtp,
            submission=self._listener.submission,
            tls=self._listener.tls is not None,
            mechanisms=tuple(self._mechanisms.names) if self._listener.submission else (),
            extensions=HONOURED,
            may_log_in_clear=settings.plaintext_login_on_loopback and is_loopback(peer),
            is_proxied=bool(self._shared.proxies) and is_in(connected, self._shared.proxies),
        )

    async def _start_tls(self) -> None:
        assert self._listener.tls is not None, "not offered"
        await self._wire.write(self._session.output)
        await self._wire.start_tls(self._listener.tls)
        self._visitor.is_secure, self._visitor.principal = True, None
        self._command_until = 0.0
        self._session.secured(self._offer())

    def _answer_login(self, answer: str | Principal) -> None:
        if isinstance(answer, str):
            self._session.challenge(answer)
        else:
            self._visitor.principal = answer
            self._session.logged_in()

    async def _check_sender(self, reverse_path: str) -> None:
        """On submission one writes as oneself, or with the null reverse path (RFC 6409 §6.1, RFC 8098 §3).

        Oneself is the account's address, with a detail or in a domain that is an alias of its domain, and an alias
        that leads to the account: the store knows these.
        """
        principal = self._visitor.principal
        if principal is None or not reverse_path:
            return
        own = {address.casefold() for address in principal.addresses}
        if reverse_path.casefold() in own:
            return
        try:
            await self._shared.store.check_sender(principal.account_id, reverse_path)
        except Refused as error:
            raise Refusal(Reply(553, "5.7.1", "this address is not yours")) from error

    async def _check_recipient(self, mail: MailArguments, recipient: RcptArguments) -> None:
        principal = self._visitor.principal
        account_id = principal.account_id if principal else None
        status = await self._shared.recipients.status(recipient.forward_path, mail.reverse_path, account_id)
        if (refusal := REFUSALS.get(status)) is not None:
            raise Refusal(refusal)
        if status == "remote" and principal is None:
            raise Refusal(Reply(550, "5.7.1", "relaying is refused"))

    async def _deliver(self, step: Deliver) -> list[Reply]:
        """One reply, or in LMTP one per recipient in their order (RFC 2033 §4.2)."""
        count = len(step.envelope.recipients) if self._listener.lmtp else 1
        try:
            screened = await self._screen.message(self._visitor, step.envelope, step.message)
            message = await in_lines(step.envelope.mail, screened.message)
        except SmtpFault as fault:
            return [fault.reply()] * count
        assert self._transaction is not None, "MAIL came first"
        origin = self._transaction.trace
        arrival = transfer.Arrival(self._visitor, self.hostname, step.envelope, screened.fields, screened.junk, origin)
        settings, store = self._shared.settings, self._shared.store
        if self._visitor.principal is None:
            return self._remembered(step, await transfer.transfer(store, arrival, message, settings.store_timeout_s))
        prepared = submission.prepared(self._visitor.principal, step.envelope.mail, message, self.hostname)
        replies = await transfer.transfer(store, arrival, prepared.message, settings.store_timeout_s)
        if settings.keep_sent_copy and not replies[0].is_error:
            await submission.keep_copy(store, self._visitor.principal, prepared)
        return self._remembered(step, replies)

    def _remembered(self, step: Deliver, replies: list[Reply]) -> list[Reply]:
        if any(reply.code in transfer.RECIPIENTS_FAULT for reply in replies):
            self._shared.recipients.forget([recipient.forward_path for recipient in step.envelope.recipients])
        return replies
