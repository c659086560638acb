"""The server's side of an SMTP or LMTP session, without I/O (RFC 5321, RFC 2033, RFC 6409).

                 EHLO            MAIL            DATA             CRLF.CRLF
        START ─────────► READY ─────────► MAIL ─────────► DATA ─────────────► READY
                                           │ BDAT n        ▲
                                           ▼               │ (octets of the message, no commands)
                                         CHUNK ──► CHUNKS ─┴─ BDAT n LAST ──► READY

Octets go in at `feed`; `next` gives one step at a time (see `steps`) or None when more octets are needed; replies are
collected in `output`, so that a group of pipelined commands gets its replies in one packet (RFC 2920 §3.2). A step
names the method by which it is answered; nothing else may be called before. AUTH and STARTTLS only begin in READY,
RSET and a new EHLO lead back there from anywhere outside of data. Everything that changes the state is in this file;
what a command says is read by `commands` and `arguments`, octets of a message by `message_input`.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import Final

from mail_proto.sasl import SaslFault, decode_response
from mail_proto.smtp import trace
from mail_proto.smtp.arguments import POSTMASTER, MailArguments, RcptArguments, parse_mail, parse_rcpt
from mail_proto.smtp.commands import FOREIGN, Command, parse_auth, parse_bdat, parse_command, parse_xclient
from mail_proto.smtp.content import ContentRules, checked
from mail_proto.smtp.errors import (
    ArgumentFault,
    BadSequence,
    LineTooLong,
    LoginCancelled,
    MessageTooLarge,
    NoRoomNow,
    NotAuthenticated,
    NotBase64,
    NotPermitted,
    ResponseTooLong,
    SmtpFault,
    TlsRequired,
    TooManyRecipients,
    UnknownCommand,
)
from mail_proto.smtp.lines import Lines
from mail_proto.smtp.message_input import ChunkInput, DataInput
from mail_proto.smtp.offer import Offer
from mail_proto.smtp.replies import Reply
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

# Permanent refusals without a message delivered in between; address harvesting gives up early.
MAX_ERRORS: Final = 30
# Commands that do nothing, without a message delivered in between: a session isn't kept open by NOOP.
MAX_IDLE_COMMANDS: Final = 100

OK: Final = Reply(250, "2.0.0", "OK")
_HELP: Final = "AUTH BDAT DATA EHLO EXPN HELO HELP LHLO MAIL NOOP QUIT RCPT RSET STARTTLS VRFY XCLIENT"


class State(enum.Enum):
    """See above. REFUSED: the client was turned away and may only QUIT (RFC 5321 §3.1)."""

    REFUSED = "refused"
    START = "start"
    READY = "ready"
    MAIL = "mail"
    CHUNKS = "chunks"
    DATA = "data"
    CHUNK = "chunk"
    AUTH = "auth"
    CLOSED = "closed"


_ANYWHERE: Final = frozenset({"EHLO", "HELO", "LHLO", "RSET", "NOOP", "QUIT", "HELP", "VRFY", "EXPN", "BDAT"})
# RFC 5321 §4.1.4. BDAT is read in any state, since octets follow it; it judges by itself.
LEGAL: Final[dict[State, frozenset[str]]] = {
    State.REFUSED: frozenset({"QUIT"}),
    State.START: _ANYWHERE | {"XCLIENT"},
    State.READY: _ANYWHERE | {"MAIL", "AUTH", "STARTTLS", "XCLIENT"},
    State.MAIL: _ANYWHERE | {"RCPT", "DATA"},
    State.CHUNKS: _ANYWHERE,
}
_ALL: Final = frozenset(_HELP.split())
_IDLE: Final = frozenset({"EHLO", "HELO", "LHLO", "RSET", "NOOP", "HELP", "VRFY", "EXPN"})


class ServerSession:
    """One connection's dialogue. `client_address` is who counts as the client, behind a proxy too."""

    def __init__(self, offer: Offer, rules: ContentRules, client_address: str, *, is_secure: bool = False) -> None:
        self.state = State.START
        self.offer, self._rules = offer, rules
        self.client_address, self.client_name = client_address, ""
        self.is_secure, self.is_authenticated = is_secure, False
        self.errors = 0
        self.output = bytearray()
        self._lines = Lines()
        self._is_extended = True
        self._proxied_name: str | None = None
        self._proxied_extended: bool | None = None
        self._mail: MailArguments | None = None
        self._asked: MailArguments | RcptArguments | None = None
        self._recipients: list[RcptArguments] = []
        self._known_recipients: set[str] = set()
        self._input: DataInput | ChunkInput | None = None
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
            if self._input is not None and self.state in (State.DATA, State.CHUNK):
                if not self._input.take(self._lines):
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
    def is_between_messages(self) -> bool:
        """Nothing would be lost if the connection ended now."""
        return self.state in (State.REFUSED, State.START, State.READY, State.CLOSED)

    @property
    def held_octets(self) -> int:
        """Octets of a message that are kept in memory."""
        return 0 if self._input is None else self._input.held_octets

    def drop(self, *, is_whole: bool) -> None:
        """There is no room for the message. It is refused: at once if it `is_whole`, its Deliver falling away; else
        after its end."""
        fault = NoRoomNow("too much mail at the moment; try again later")
        if is_whole:
            self._refuse_message(fault)
        elif self._input is not None:
            self._input.drop(fault)

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
        lines = self.offer.lines(is_secure=self.is_secure) if self._is_extended else []
        self.say(Reply(250, "", "\n".join([self.offer.hostname, *lines])))

    def secured(self, offer: Offer) -> None:
        """The handshake is done; back to the state right after the greeting (RFC 3207 §4.2)."""
        self._lines.clear()
        self._reset()
        self.state, self.offer = State.START, offer
        self.is_secure, self.is_authenticated = True, False
        self.client_name = ""

    def challenge(self, octets: str) -> None:
        """Ask for the next response; `octets` are Base64."""
        self.say(Reply(334, "", octets))
        self.state = State.AUTH

    def logged_in(self) -> None:
        self.is_authenticated = True
        self.state = State.READY
        self.say(Reply(235, "2.7.0", "authenticated"))

    def sender_accepted(self) -> None:
        assert isinstance(self._asked, MailArguments)
        self._mail = self._asked
        self._transactions += 1
        self.state = State.MAIL
        self.say(Reply(250, "2.1.0", "OK"))

    def recipient_accepted(self) -> None:
        assert isinstance(self._asked, RcptArguments)
        recipient = self._asked
        # In LMTP each RCPT has its own answer after the data (RFC 2033 §4.2).
        if self.offer.lmtp or recipient.forward_path not in self._known_recipients:
            self._recipients.append(recipient)
            self._known_recipients.add(recipient.forward_path)
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
        if verb not in _ALL or self._is_unknown_here(verb):
            raise UnknownCommand("unknown command")
        if verb not in LEGAL[self.state]:
            raise BadSequence(self._why_not(verb))
        if verb in _IDLE:
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

    def _is_unknown_here(self, verb: str) -> bool:
        match verb:
            case "LHLO":
                return not self.offer.lmtp
            case "EHLO" | "HELO":
                return self.offer.lmtp  # RFC 2033 §4.1
            case "AUTH":
                return not self.offer.submission
            case "STARTTLS":
                return not self.offer.tls
        return False

    def _why_not(self, verb: str) -> str:
        hello = "LHLO" if self.offer.lmtp else "EHLO"
        match self.state, verb:
            case State.REFUSED, _:
                return "no service for you; QUIT"
            case State.START, _:
                return f"say {hello} first"
            case State.READY, _:
                return "MAIL comes first"
            case State.CHUNKS, "DATA":
                return "BDAT and DATA don't mix"  # RFC 3030 §2
        return "a mail transaction is open already"

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
                self.say(Reply(214, "2.0.0", f"commands: {_HELP}"))
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
        self._is_extended = verb != "HELO" if self._proxied_extended is None else self._proxied_extended
        self.client_name = argument if self._proxied_name is None else self._proxied_name
        return Greeted(self.client_name)

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
        said = parse_xclient(argument)
        if said.address:
            try:
                self.client_address = str(ip_address(said.address))
            except ValueError as error:
                raise ArgumentFault("ADDR is no address") from error
        elif said.address is not None:
            self.client_address = "unknown"
        self._proxied_name = said.helo or None
        self._proxied_extended = said.protocol.upper() != "SMTP" if said.protocol else None
        self._reset()
        self.state, self.client_name, self.is_authenticated = State.START, "", False
        return Introduced()

    # Mail transaction

    def _mail_command(self, argument: str) -> Step | None:
        if self.offer.submission and not self.is_authenticated:
            raise NotAuthenticated("log in first")
        if self._transactions >= self.offer.max_transactions:
            self.close(Reply(421, "4.7.0", "too many messages over one connection; open another"))
            return None
        mail = parse_mail(argument, self.offer.offered(is_secure=self.is_secure))
        limit = self.offer.max_message_octets
        if mail.size_octets is not None and mail.size_octets > limit:
            raise MessageTooLarge(f"messages may have {limit} octets")
        self._asked = mail
        return CheckSender(mail)

    def _rcpt(self, argument: str) -> Step:
        assert self._mail is not None
        recipient = parse_rcpt(argument, self._mail.smtputf8, self.offer.extensions)
        if recipient.forward_path == POSTMASTER:  # RFC 5321 §4.5.1
            recipient = replace(recipient, forward_path=f"{POSTMASTER}@{self.offer.hostname}")
        if len(self._recipients) >= self.offer.max_recipients:
            raise TooManyRecipients("too many recipients")
        self._asked = recipient
        return CheckRecipient(recipient)

    def _data(self, argument: str) -> Step | None:
        assert self._mail is not None
        if argument:
            raise ArgumentFault("DATA takes no argument")
        if not self._recipients:
            # RFC 5321 §3.3; RFC 2033 §4.2 asks LMTP for the same.
            raise BadSequence("no valid recipients")
        if self._mail.body == "BINARYMIME":
            raise BadSequence("BINARYMIME needs BDAT")  # RFC 3030 §3
        self._input = DataInput(self.offer.max_message_octets)
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
        chunks = self._input if self.state is State.CHUNKS and isinstance(self._input, ChunkInput) else None
        if chunks is None:
            chunks = ChunkInput(self.offer.max_message_octets)
            if self.state is not State.MAIL or not self._recipients:
                chunks.drop(BadSequence("no valid recipients" if self._mail is not None else "MAIL comes first"))
        chunks.begin(size, self.state.value, is_last=is_last)
        self._input = chunks
        self.state = State.CHUNK
        return None

    def _data_came(self) -> Step | None:
        """The end of data, or of a chunk."""
        source = self._input
        assert source is not None
        if isinstance(source, ChunkInput) and (self._mail is None or not self._recipients):
            assert source.fault is not None, "there was nothing to put the chunk into"
            self.state, self._input = State(source.begun_in), None
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
            return Deliver(self._envelope(), self._checked(source))
        except SmtpFault as fault:
            self._refuse_message(fault)
            return None

    def _refuse_message(self, fault: SmtpFault) -> None:
        self.delivered([fault.reply()] * (len(self._recipients) if self.offer.lmtp else 1))

    def _checked(self, source: DataInput | ChunkInput) -> bytes:
        """Raises SmtpFault."""
        assert self._mail is not None
        message = source.message()
        if self._mail.body == "BINARYMIME":
            return message
        return checked(message, self._rules, declares_8bit=self._mail.body == "8BITMIME" or self._mail.smtputf8)

    def _envelope(self) -> Envelope:
        assert self._mail is not None
        keyword = trace.protocol_name(
            lmtp=self.offer.lmtp,
            extended=self._is_extended,
            tls=self.is_secure,
            authenticated=self.is_authenticated,
            smtputf8=self._mail.smtputf8,
        )
        return Envelope(self._mail, tuple(self._recipients), keyword, self.client_name, self.is_secure)

    def _reset(self) -> None:
        self._mail = self._asked = self._input = None
        self._recipients, self._known_recipients = [], set()

    def _end_transaction(self) -> None:
        self._reset()
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
