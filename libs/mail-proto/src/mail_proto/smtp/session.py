"""The server's side of an SMTP or LMTP session, without I/O (RFC 5321, RFC 2033, RFC 6409).

                 EHLO            MAIL            DATA             CRLF.CRLF
        START ─────────► READY ─────────► MAIL ─────────► DATA ─────────────► READY
                                           │ BDAT n        ▲
                                           ▼               │ (octets of the message, no commands)
                                         CHUNK ──► CHUNKS ─┴─ BDAT n LAST ──► READY

Octets go in at `feed`; `next` gives one step at a time (see `steps`) or None when more octets are needed; replies are
collected in `output`, so that a group of pipelined commands gets its replies in one packet (RFC 2920 §3.2). A step
names the method by which it is answered; nothing else may be called before. AUTH and STARTTLS only begin in READY,
RSET and a new EHLO lead back there from anywhere outside of data. Everything that changes the state is in this file.
`states` says which commands belong to each; what belongs to one message is in `transaction`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mail_proto.sasl import SaslFault, decode_response
from mail_proto.smtp import trace
from mail_proto.smtp.client_identity import ClientIdentity
from mail_proto.smtp.commands import FOREIGN, Command, parse_auth, parse_bdat, parse_command
from mail_proto.smtp.content import ContentRules
from mail_proto.smtp.errors import (
    ArgumentFault,
    BadSequence,
    LineTooLong,
    LoginCancelled,
    NoRoomNow,
    NotAuthenticated,
    NotBase64,
    NotPermitted,
    ResponseTooLong,
    SmtpFault,
    TlsRequired,
    UnknownCommand,
)
from mail_proto.smtp.lines import Lines
from mail_proto.smtp.message_input import ChunkInput
from mail_proto.smtp.offer import Offer
from mail_proto.smtp.replies import Reply
from mail_proto.smtp.states import HELP, IDLE, LEGAL, VERBS, State, why_not
from mail_proto.smtp.steps import (
    Authenticate,
    CheckRecipient,
    CheckSender,
    Close,
    Deliver,
    Envelope,
    Greeted,
    Introduced,
    Respond,
    StartTls,
    Step,
    Waits,
)
from mail_proto.smtp.transaction import Transaction

# Permanent refusals without a message delivered in between; address harvesting gives up early.
MAX_ERRORS: Final = 30
# Commands that do nothing, without a message delivered in between: a session isn't kept open by NOOP.
MAX_IDLE_COMMANDS: Final = 100

OK: Final = Reply(250, "2.0.0", "OK")


class ServerSession:
    """One connection's dialogue. `client_address` is who is connected."""

    def __init__(self, offer: Offer, rules: ContentRules, client_address: str, *, is_secure: bool = False) -> None:
        self.state = State.START
        self.offer, self._rules = offer, rules
        self.client = ClientIdentity(client_address)
        self.is_secure, self.is_authenticated = is_secure, False
        self.errors = 0
        self.output = bytearray()
        self._lines = Lines()
        self._transaction = Transaction(offer)
        self._idle = self._transactions = 0

    # What goes in and out

    def feed(self, octets: bytes) -> None:
        """Take what came from the client."""
        self._lines.feed(octets)

    def next(self) -> Step | None:
        """The next step, or None: more octets are needed; send `output` before waiting for them."""
        step: Step | None = None
        while step is None:
            if self.state is State.CLOSED:
                return Close()
            if (coming := self._transaction.input) is not None and self.state in (State.DATA, State.CHUNK):
                if not coming.take(self._lines):
                    return None
                step = self._data_came()
            else:
                line = self._lines.next()
                if line is None:
                    return None
                step = self._take(line)
        return step

    @property
    def waits_for(self) -> Waits:
        """What the next octets belong to: time-outs differ."""
        return "data" if self.state in (State.DATA, State.CHUNK) else "command"

    @property
    def held_octets(self) -> int:
        """Octets of a message that are kept in memory."""
        return self._transaction.held_octets

    def drop(self, *, is_whole: bool) -> None:
        """There is no room for the message. It is refused: at once if it `is_whole`, its Deliver falling away; else
        after its end."""
        fault = NoRoomNow("too much mail at the moment; try again later")
        if is_whole:
            self._refuse_message(fault)
        else:
            self._transaction.drop(fault)

    def say(self, reply: Reply) -> None:
        """Queue a reply."""
        self.output += reply.render()

    def close(self, reply: Reply) -> None:
        """Say this last reply; the next step is Close."""
        self.say(reply)
        self.state = State.CLOSED

    # Answers to steps

    def greet(self) -> None:
        """The first reply, or that to XCLIENT (RFC 5321 §3.1)."""
        kind = "LMTP" if self.offer.lmtp else "ESMTP"
        self.say(Reply(220, "", f"{self.offer.hostname} {kind} Postroom"))

    def turn_away(self, reply: Reply) -> None:
        """Instead of the greeting: the client may only QUIT (RFC 5321 §3.1)."""
        self.say(reply)
        self.state = State.REFUSED

    def greeted(self) -> None:
        """Answer EHLO, LHLO or HELO."""
        self.state = State.READY
        lines = self.offer.lines(is_secure=self.is_secure) if self.client.is_extended else []
        self.say(Reply(250, "", "\n".join([self.offer.hostname, *lines])))

    def secured(self, offer: Offer) -> None:
        """The handshake is done; back to the state right after the greeting (RFC 3207 §4.2)."""
        self._lines.clear()
        self.state, self.offer = State.START, offer
        self._transaction = Transaction(offer)
        self.is_secure, self.is_authenticated = True, False
        self.client.name = ""

    def challenge(self, octets: str) -> None:
        """Ask for the next response; `octets` are Base64."""
        self.say(Reply(334, "", octets))
        self.state = State.AUTH

    def logged_in(self) -> None:
        self.is_authenticated = True
        self.state = State.READY
        self.say(Reply(235, "2.7.0", "authenticated"))

    def sender_accepted(self) -> None:
        self._transaction.accept_sender()
        self._transactions += 1
        self.state = State.MAIL
        self.say(Reply(250, "2.1.0", "OK"))

    def recipient_accepted(self) -> None:
        self._transaction.accept_recipient()
        self.say(Reply(250, "2.1.5", "OK"))

    def refused(self, reply: Reply) -> None:
        """No to what was asked by the last step. A reply of 421 ends the session."""
        if self.state is State.AUTH:
            self.state = State.READY
        self._count(reply)
        if reply.code == 421:
            self.close(reply)
        else:
            self.say(reply)
            self._check_patience()

    def delivered(self, replies: Sequence[Reply]) -> None:
        """The end of a transaction: its replies, in LMTP one per recipient."""
        self._end_transaction()
        for reply in replies:
            self.say(reply)
        if any(not reply.is_error for reply in replies):
            self.errors = self._idle = 0
        else:
            self._count(replies[0])
        self._check_patience()

    # Lines

    def _take(self, line: bytes | SmtpFault) -> Step | None:
        try:
            if self.state is State.AUTH:
                return self._respond(line)
            if isinstance(line, SmtpFault):
                raise line
            return self._answer(parse_command(line))
        except SmtpFault as fault:
            self.refused(fault.reply())
            return None

    def _respond(self, line: bytes | SmtpFault) -> Step:
        if isinstance(line, LineTooLong):
            raise ResponseTooLong("the response is too long")
        if isinstance(line, SmtpFault):
            raise line
        if line == b"*":
            raise LoginCancelled("cancelled")
        return Respond(_decoded(line))

    def _answer(self, command: Command) -> Step | None:
        verb, argument = command
        if verb in FOREIGN:
            self.close(Reply(421, "4.7.0", "this is no web server"))
            return None
        if verb not in VERBS or not self.offer.knows(verb):
            raise UnknownCommand("unknown command")
        if verb not in LEGAL[self.state]:
            raise BadSequence(why_not(self.state, verb, lmtp=self.offer.lmtp))
        if verb in IDLE:
            self._idle += 1
            if self._idle > MAX_IDLE_COMMANDS:
                self.close(Reply(421, "4.7.0", "too many commands without a message"))
                return None
        match verb:
            case "MAIL":
                return self._mail_command(argument)
            case "RCPT":
                return self._rcpt(argument)
            case "DATA":
                return self._data(argument)
            case "BDAT":
                return self._bdat(argument)
            case "EHLO" | "LHLO" | "HELO":
                return self._hello(verb, argument)
            case "STARTTLS":
                return self._starttls(argument)
            case "AUTH":
                return self._auth(argument)
            case "XCLIENT":
                return self._xclient(argument)
        return self._small(verb, argument)

    def _small(self, verb: str, argument: str) -> Step | None:
        if verb in ("RSET", "QUIT") and argument:
            raise ArgumentFault(f"{verb} takes no argument")
        match verb:
            case "RSET":
                self._end_transaction()
                self.say(OK)
            case "QUIT":
                self.close(Reply(221, "2.0.0", "bye"))
            case "HELP":
                self.say(Reply(214, "2.0.0", f"commands: {HELP}"))
            case "VRFY":
                if not argument:
                    raise ArgumentFault("write VRFY and an address")
                self.say(Reply(252, "2.5.2", "send mail to find out"))  # RFC 5321 §7.3
            case "EXPN":
                self.refused(Reply(502, "5.5.1", "EXPN is not available"))
            case _:
                self.say(OK)
        return None

    # Session

    def _hello(self, verb: str, argument: str) -> Step:
        if not argument:
            raise ArgumentFault("say who you are")
        self._end_transaction()
        self.client.greet(verb, argument)
        return Greeted(self.client.name)

    def _starttls(self, argument: str) -> Step:
        if argument:
            raise ArgumentFault("STARTTLS takes no argument")
        if self.is_secure:
            raise BadSequence("TLS is already active")
        self.say(Reply(220, "2.0.0", "ready to start TLS"))
        return StartTls()

    def _auth(self, argument: str) -> Step:
        if self.is_authenticated:
            raise BadSequence("AUTH comes once")
        if not self.offer.may_log_in(is_secure=self.is_secure):
            raise TlsRequired("start TLS before you log in")
        mechanism, initial = parse_auth(argument)
        return Authenticate(mechanism, None if initial is None else _decoded(initial.encode()))

    def _xclient(self, argument: str) -> Step:
        if not self.offer.is_proxied:
            raise NotPermitted("XCLIENT is not for you")
        self.client.introduce(argument)
        self._transaction = Transaction(self.offer)
        self.state, self.is_authenticated = State.START, False
        return Introduced()

    # Mail transaction

    def _mail_command(self, argument: str) -> Step | None:
        if self.offer.submission and not self.is_authenticated:
            raise NotAuthenticated("log in first")
        if self._transactions >= self.offer.max_transactions:
            self.close(Reply(421, "4.7.0", "too many messages over one connection; open another"))
            return None
        return CheckSender(self._transaction.ask_sender(argument, is_secure=self.is_secure))

    def _rcpt(self, argument: str) -> Step:
        return CheckRecipient(self._transaction.ask_recipient(argument))

    def _data(self, argument: str) -> Step | None:
        self._transaction.begin_data(argument)
        self.state = State.DATA
        self.say(Reply(354, "", "end with CRLF.CRLF"))
        return None

    def _bdat(self, argument: str) -> Step | None:
        try:
            size, is_last = parse_bdat(argument)
        except ArgumentFault as fault:
            # Nobody knows how many octets follow, and they mustn't be taken for commands.
            self.close(fault.reply())
            return None
        is_open = self.state in (State.MAIL, State.CHUNKS)
        self._transaction.begin_chunk(size, self.state.value, is_last=is_last, is_open=is_open)
        self.state = State.CHUNK
        return None

    def _data_came(self) -> Step | None:
        """The end of data, or of a chunk."""
        transaction = self._transaction
        source = transaction.input
        if isinstance(source, ChunkInput) and (transaction.mail is None or not transaction.recipients):
            assert source.fault is not None, "there was nothing to put the chunk into"
            self.state, transaction.input = State(source.begun_in), None
            self.refused(source.fault.reply())
            return None
        if isinstance(source, ChunkInput) and not source.is_last:
            self.state = State.CHUNKS
            if source.fault is not None:
                self.refused(source.fault.reply())
            else:
                self.say(Reply(250, "2.0.0", f"{source.octets} octets"))
            return None
        try:
            return Deliver(self._envelope(), transaction.message(self._rules))
        except SmtpFault as fault:
            self._refuse_message(fault)
            return None

    def _refuse_message(self, fault: SmtpFault) -> None:
        self.delivered([fault.reply()] * self._transaction.replies)

    def _envelope(self) -> Envelope:
        mail = self._transaction.mail
        assert mail is not None
        keyword = trace.protocol_name(
            lmtp=self.offer.lmtp,
            extended=self.client.is_extended,
            tls=self.is_secure,
            authenticated=self.is_authenticated,
            smtputf8=mail.smtputf8,
        )
        return Envelope(mail, tuple(self._transaction.recipients), keyword, self.client.name, self.is_secure)

    def _end_transaction(self) -> None:
        self._transaction = Transaction(self.offer)
        if self.state is not State.START:
            self.state = State.READY

    # Patience

    def _count(self, reply: Reply) -> None:
        if reply.code >= 500:
            self.errors += 1

    def _check_patience(self) -> None:
        if self.errors > MAX_ERRORS and self.state is not State.CLOSED:
            self.close(Reply(421, "4.7.0", "too many errors"))


def _decoded(line: bytes) -> bytes:
    try:
        return decode_response(line)
    except SaslFault as fault:
        raise NotBase64(str(fault)) from fault
