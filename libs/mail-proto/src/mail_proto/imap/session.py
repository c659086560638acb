"""The IMAP server session, without I/O (RFC 3501 §3).

Octets go in at `receive`; out come steps (see `steps`): replies, and what needs TLS, a login or the store. Whoever owns
the connection carries each out before it takes the next, and calls the method that the step names. Which lines are
commands, which answer a challenge or end IDLE, what is allowed in which state, what is enabled and when the client has
broken the rules too often: all of that is decided here.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from mail_proto.imap import commands as c
from mail_proto.imap.capabilities import Offer, capabilities
from mail_proto.imap.enabled import Enabled
from mail_proto.imap.errors import ImapFault, Refused, SyntaxFault, status
from mail_proto.imap.framing import ContinuationNeeded, Framing, FramingLost, Line, LiteralRefused
from mail_proto.imap.parser import TaggedFault, parse_command
from mail_proto.imap.search_keys import Changed, contains
from mail_proto.imap.states import State, check_allowed
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

# A client that breaks the rules more often is a program gone wrong, or searches for holes.
MAX_FAULTS: Final = 20
# RFC 4954 §4 names the risk for SMTP; four mistypings are human.
MAX_FAILED_LOGINS: Final = 5
NAMESPACE: Final = b'* NAMESPACE (("" "/")) (("Shared/" "/")) (("Public/" "/"))\r\n'
IDENTITY: Final = b'* ID ("name" "Postroom")\r\n'


def enables_condstore(command: c.Command) -> bool:
    """Whether the client shows by it that it knows modseqs (RFC 7162 §3.1)."""
    match command:
        case c.Fetch(plan=plan):
            return "MODSEQ" in plan.names
        case c.Select(condstore=True) | c.Select(resync=c.Resync()):
            return True
        case c.StoreFlags(unchanged_since=int()):
            return True
        case c.Status(items=items) | c.ListMailboxes(status=items):
            return "HIGHESTMODSEQ" in items
        case c.Search(key=key) | c.Sort(key=key) | c.Thread(key=key) | c.SearchMailboxes(key=key):
            return contains(key, Changed)
    return False


class Expects(enum.Enum):
    """What the next line is."""

    COMMAND = "a command"
    RESPONSE = "a response to a challenge"
    DONE = "the end of IDLE"


class ServerSession:
    """Feed it octets, carry out its steps, tell it what came of them."""

    def __init__(self, offer: Offer, *, is_secure: bool, password_may_cross: bool) -> None:
        self.state = State.NOT_AUTHENTICATED
        self.is_secure = is_secure
        self.enabled = Enabled()
        self._offer, self._password_may_cross = offer, password_may_cross
        self._is_compressed = self._sets_quotas = False
        self._framing = Framing()
        self._expects, self._tag = Expects.COMMAND, b"*"
        self._faults = self._failed_logins = 0

    @property
    def login_allowed(self) -> bool:
        """May a password cross this connection now?"""
        return self.is_secure or self._password_may_cross

    def greeting(self) -> Reply:
        """The first line (RFC 3501 §7.1.1)."""
        text = f"{self._offer.hostname} Postroom is ready"
        return Reply(status(b"*", b"OK", text, f"CAPABILITY {self.capabilities()}"))

    def capabilities(self) -> str:
        return capabilities(
            self._offer,
            is_secure=self.is_secure,
            login_allowed=self.login_allowed,
            is_logged_in=self.state is not State.NOT_AUTHENTICATED,
            is_compressed=self._is_compressed,
            sets_quotas=self._sets_quotas,
        )

    def receive(self, octets: bytes) -> Iterator[Step]:
        """Yield the step of each line completed by `octets`; carry one out before taking the next."""
        self._framing.feed(octets)
        while True:
            try:
                event = self._framing.next_event()
            except FramingLost as lost:
                yield Bye(status(b"*", b"BYE", str(lost)))
                return
            match event:
                case Line(line):
                    yield self._take(line)
                case None:
                    return
                case ContinuationNeeded():
                    yield Reply(b"+ go on\r\n")
                case LiteralRefused(tag, is_append):
                    yield self.failed(tag, self._literal_fault(is_append=is_append))

    def _literal_fault(self, *, is_append: bool) -> ImapFault:
        if not is_append:
            return SyntaxFault("the literal is too large")
        if self.state is State.NOT_AUTHENTICATED:
            return SyntaxFault(f"not allowed {self.state.value}")
        return Refused("the message is too large", "TOOBIG")

    def _take(self, line: bytes) -> Step:
        expected, self._expects = self._expects, Expects.COMMAND
        if expected is Expects.RESPONSE:
            if line == b"*":
                return self.failed(self._tag, SyntaxFault("cancelled"))
            return SaslResponse(self._tag, line)
        if expected is Expects.DONE:
            if line.upper() != b"DONE":
                return self.failed(self._tag, SyntaxFault("IDLE ends with DONE"))
            return Reply(self.done(self._tag, "idled"))
        try:
            tag, command = parse_command(line, is_utf8=self.enabled.utf8)
        except TaggedFault as fault:
            return self.failed(fault.tag, fault.fault)
        try:
            check_allowed(self.state, command)
            return self._answer(tag, command)
        except ImapFault as fault:
            return self.failed(tag, fault)

    def _answer(self, tag: bytes, command: c.Command) -> Step:
        """The step of a command that is allowed. Raises ImapFault."""
        match command:
            case c.Simple(name):
                return self._simple(tag, name, command)
            case c.Login(user, password):
                self._check_privacy()
                return LogIn(tag, user, password)
            case c.Authenticate(mechanism, initial):
                self._check_privacy()
                return Authenticate(tag, mechanism, initial)
            case c.Identify():
                return Reply(IDENTITY + self.done(tag, "that is who we are"))
            case c.Enable(extensions):
                names = "".join(f" {name}" for name in self.enabled.add(extensions))
                return Reply(f"* ENABLED{names}\r\n".encode("ascii") + self.done(tag, "enabled"))
            case c.Compress(mechanism):
                return self._compress(tag, mechanism)
            case c.Select(resync=c.Resync()) | c.Fetch(vanished=True) if not self.enabled.qresync:
                raise SyntaxFault("ENABLE QRESYNC comes first (RFC 7162 section 3.2.3)")
            case _:
                if not self.enabled.condstore and enables_condstore(command):
                    self.enabled.add(["CONDSTORE"])
                return Run(tag, command)

    def _simple(self, tag: bytes, name: str, command: c.Command) -> Step:
        match name:
            case "CAPABILITY":
                words = self.capabilities().encode("ascii")
                return Reply(b"* CAPABILITY " + words + b"\r\n" + self.done(tag, "capabilities"))
            case "NAMESPACE":
                return Reply(NAMESPACE + self.done(tag, "namespaces"))
            case "STARTTLS":
                if self.is_secure or not self._offer.tls:
                    raise SyntaxFault("TLS is active already" if self.is_secure else "TLS isn't offered here")
                return StartTls(status(tag, b"OK", "begin TLS"))
            case "LOGOUT":
                return Bye(status(b"*", b"BYE", "logging out") + self.done(tag, "bye"))
            case "UNAUTHENTICATE":
                return Unauthenticate(self.done(tag, "log in again as whom you like"))
            case "IDLE":
                self._expects, self._tag = Expects.DONE, tag
                return Idle(b"+ idling\r\n")
            case _:
                return Run(tag, command)

    def _compress(self, tag: bytes, mechanism: str) -> Step:
        """RFC 4978 §3."""
        if mechanism != "DEFLATE":
            raise SyntaxFault("DEFLATE is the mechanism")
        if self._is_compressed:
            raise Refused("it is active already", "COMPRESSIONACTIVE")
        self._is_compressed = True
        return Compress(self.done(tag, "DEFLATE from here on"))

    def _check_privacy(self) -> None:
        """Raises Refused (RFC 5530 §3)."""
        if not self.login_allowed:
            raise Refused("start TLS before you log in", "PRIVACYREQUIRED")

    # What came of a step

    def secured(self, mechanisms: tuple[str, ...]) -> None:
        """TLS is up: forget all that came in clear (RFC 3501 §6.2.1). `mechanisms`: those that are offered now."""
        self._offer = replace(self._offer, mechanisms=mechanisms)
        self.is_secure = True
        self._framing.clear()

    def compressed(self) -> None:
        """What comes now was compressed; what came in clear behind the command had no business there."""
        self._framing.clear()

    def challenge(self, tag: bytes, base64: bytes) -> Reply:
        """The next line is a response, not a command."""
        self._expects, self._tag = Expects.RESPONSE, tag
        return Reply(b"+ " + base64 + b"\r\n")

    def logged_in(self, tag: bytes, *, sets_quotas: bool = False) -> Reply:
        """The client is who it says: messages may be appended from now on, perhaps quotas be set."""
        self.state = State.AUTHENTICATED
        self._sets_quotas = sets_quotas
        self._framing.max_append_octets = self._offer.append_limit
        return Reply(self.done(tag, "logged in", f"CAPABILITY {self.capabilities()}"))

    def unauthenticated(self) -> None:
        """All is as after the greeting, but for TLS and for how often the client went wrong (RFC 8437 §3)."""
        self.state, self._sets_quotas = State.NOT_AUTHENTICATED, False
        self.enabled.clear()
        self._framing.max_append_octets = 0
        if self._is_compressed:
            # What was compressed behind the command had no business there.
            self._is_compressed = False
            self._framing.clear()

    def login_failed(self, tag: bytes, fault: ImapFault) -> Reply | Bye:
        """Wrong name or password; guessing ends with the connection."""
        self._failed_logins += 1
        reply = self.failed(tag, fault)
        if self._failed_logins < MAX_FAILED_LOGINS:
            return reply
        return Bye(reply.octets + status(b"*", b"BYE", "too many failed logins"))

    def opened(self, *, is_open: bool) -> None:
        """A mailbox is selected now, or none is."""
        self.state = State.SELECTED if is_open else State.AUTHENTICATED

    def done(self, tag: bytes, text: str, code: str = "") -> bytes:
        """The tagged OK of a command."""
        if self.state is not State.NOT_AUTHENTICATED:
            self._faults = 0
        return status(tag, b"OK", text, code)

    def failed(self, tag: bytes, fault: ImapFault) -> Reply | Bye:
        """The tagged NO or BAD; too many of the latter end the session."""
        self._faults += isinstance(fault, SyntaxFault)
        if self._faults > MAX_FAULTS:
            return Bye(fault.reply(tag) + status(b"*", b"BYE", "too many errors"))
        return Reply(fault.reply(tag))
