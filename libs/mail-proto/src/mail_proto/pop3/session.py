"""The POP3 server session, without I/O.

AUTHORIZATION → TRANSACTION → UPDATE (RFC 1939 §3). Everything that changes the state lives in this file. Octets go
in at `receive`; out come steps (see `steps`), most of them replies. Steps that need TLS, the store or a message are
carried out by the owner of the connection, who then calls the method that the step names.

A session ends in UPDATE only by QUIT in TRANSACTION: a connection that breaks removes nothing (RFC 1939 §6).
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from mail_proto.pop3 import replies
from mail_proto.pop3.capabilities import Offer, capabilities, languages
from mail_proto.pop3.commands import (
    Auth,
    Capa,
    Command,
    Dele,
    Lang,
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
    Utf8,
    parse_command,
)
from mail_proto.pop3.errors import LineTooLong, LoginRefused, NotNow, Pop3Fault, SyntaxFault
from mail_proto.pop3.framing import MAX_LINE_OCTETS, MAX_SASL_OCTETS, LineReader
from mail_proto.pop3.maildrop import Maildrop
from mail_proto.pop3.steps import Authenticate, Bye, LogIn, Reply, SaslResponse, Send, StartTls, Step, Update
from mail_proto.pop3.transaction import answer

# A client that breaks the rules more often is a program gone wrong, or searches for holes.
MAX_FAULTS: Final = 20
# RFC 4954 §4 names the risk; four mistypings are human.
MAX_FAILED_LOGINS: Final = 5


class State(enum.Enum):
    """RFC 1939 §3."""

    AUTHORIZATION = "authorization"
    TRANSACTION = "transaction"
    UPDATE = "update"


LEGAL: Final[dict[State, frozenset[type[Command]]]] = {
    State.AUTHORIZATION: frozenset({User, Pass, Auth, Stls, Capa, Utf8, Lang, Noop, Quit}),
    State.TRANSACTION: frozenset({Stat, List, Retr, Dele, Noop, Rset, Top, Uidl, Capa, Lang, Quit}),
    State.UPDATE: frozenset(),
}


class ServerSession:
    """Feed it octets, carry out its steps, tell it what came of them."""

    def __init__(self, offer: Offer, *, is_secure: bool, password_may_cross: bool) -> None:
        self.state = State.AUTHORIZATION
        self.is_secure = is_secure
        self.is_utf8 = False
        self._offer = offer
        self._password_may_cross = password_may_cross
        self._user: str | None = None
        self._maildrop: Maildrop | None = None
        self._expire_days: int | None = None
        self._awaits_response = False
        self._lines = LineReader()
        self._faults = self._failed_logins = 0

    @property
    def login_allowed(self) -> bool:
        """May a password cross this connection now?"""
        return self.is_secure or self._password_may_cross

    @property
    def maildrop(self) -> Maildrop:
        assert self._maildrop is not None, "only after login"
        return self._maildrop

    def greeting(self) -> Reply:
        """The first line (RFC 1939 §4). There is no timestamp in it: APOP isn't offered."""
        return Reply(replies.ok(f"{self._offer.hostname} Postroom is ready"))

    def receive(self, data: bytes) -> Iterator[Step]:
        """Yield the step of each command completed by `data`; carry one out before taking the next.

        Raises Garbage: a line has no end; send its reply and close.
        """
        self._lines.feed(data)
        for line in self._lines.lines():
            yield self._take(line)

    def _take(self, line: bytes | LineTooLong) -> Step:
        was_response, self._awaits_response = self._awaits_response, False
        self._lines.limit_octets = MAX_LINE_OCTETS
        try:
            if isinstance(line, LineTooLong):
                raise line
            if was_response:
                return self._respond(line)
            command = parse_command(line)
            self._check_legal(command)
            return self._answer(command)
        except Pop3Fault as fault:
            return self._fault(fault)

    def _fault(self, fault: Pop3Fault) -> Step:
        self._faults += isinstance(fault, SyntaxFault | NotNow)
        return Bye(fault.reply()) if self._faults > MAX_FAULTS else Reply(fault.reply())

    def _respond(self, line: bytes) -> Step:
        if line == b"*":
            raise LoginRefused("the login was cancelled")
        return SaslResponse(line)

    def _check_legal(self, command: Command) -> None:
        """Raises NotNow."""
        if type(command) not in LEGAL[self.state]:
            raise NotNow(f"not in the {self.state.name} state")
        match command:
            case User() | Pass() | Auth() if not self.login_allowed:
                raise NotNow("start TLS before you log in")
            case Pass() if self._user is None:
                raise NotNow("USER comes first")
            case Stls() if self.is_secure or not self._offer.tls:
                raise NotNow("TLS is already active" if self.is_secure else "TLS is not available")
            case Stls() if self.is_utf8:
                raise NotNow("STLS comes before UTF8 (RFC 6856 section 2.1)")

    def _answer(self, command: Command) -> Step:
        user = self._user
        if not isinstance(command, Capa | Lang | Noop):
            self._user = None  # PASS counts only right after a USER (RFC 1939 §7)
        match command:
            case User(name):
                self._user = name
                return Reply(replies.ok("now PASS"))
            case Pass(password):
                assert user is not None, "checked by _check_legal"
                return LogIn(user, password)
            case Auth(""):
                return Reply(replies.listing("mechanisms", self._offer.mechanisms))
            case Auth(mechanism, initial):
                if mechanism not in self._offer.mechanisms:
                    raise SyntaxFault("this mechanism isn't offered; CAPA lists those that are")
                return Authenticate(mechanism, initial)
            case Stls():
                return StartTls(replies.ok("begin TLS"))
            case Utf8():
                self.is_utf8 = True
                return Reply(replies.ok("UTF-8 it is"))
            case Capa():
                return Reply(replies.listing("capabilities", self.capabilities()))
            case Lang(language):
                return Reply(languages(language))
            case Quit():
                return self._quit()
            case Noop():
                return Reply(replies.ok())
            case Retr(msg):
                return Send(msg, self.maildrop.entry(msg), None, self.is_utf8)
            case Top(msg, lines):
                return Send(msg, self.maildrop.entry(msg), lines, self.is_utf8)
            case _:
                return Reply(answer(self.maildrop, command))

    def _quit(self) -> Step:
        """RFC 1939 §4, §6."""
        updates = self.state is State.TRANSACTION
        self.state = State.UPDATE
        return Update(self.maildrop.marked_uids()) if updates else Bye(replies.ok("bye"))

    def capabilities(self) -> list[str]:
        """Lines of CAPA: only what is true now."""
        return capabilities(
            self._offer,
            mechanisms=self._offer.mechanisms if self.login_allowed else (),
            may_start_tls=self._offer.tls and not self.is_secure and self.state is State.AUTHORIZATION,
            expire_days=self._expire_days,
            is_logged_in=self.state is not State.AUTHORIZATION,
        )

    # What came of a step

    def secured(self, mechanisms: tuple[str, ...]) -> None:
        """TLS is up: forget all that came in clear (RFC 2595 §4). `mechanisms`: those that are offered now."""
        self._offer = replace(self._offer, mechanisms=mechanisms)
        self.is_secure = True
        self._user = None
        self._lines.clear()

    def challenge(self, base64: bytes = b"") -> Reply:
        """The next line is a SASL response, not a command."""
        self._awaits_response = True
        self._lines.limit_octets = MAX_SASL_OCTETS
        return Reply(replies.continuation(base64))

    def logged_in(self, maildrop: Maildrop, expire_days: int | None = None) -> Reply:
        """The lock is held and the maildrop open (RFC 1939 §4). `expire_days`: None for never (RFC 2449 §6.7)."""
        assert self.state is State.AUTHORIZATION
        self.state, self._maildrop, self._expire_days = State.TRANSACTION, maildrop, expire_days
        count, octets = maildrop.stat()
        return Reply(replies.ok(f"{count} messages ({octets} octets)"))

    def refused(self, fault: Pop3Fault) -> Reply | Bye:
        """No login: the session stays in AUTHORIZATION, but not for ever."""
        if isinstance(fault, LoginRefused):
            self._failed_logins += 1
        is_last = self._failed_logins >= MAX_FAILED_LOGINS or self._faults > MAX_FAULTS
        return Bye(fault.reply()) if is_last else Reply(fault.reply())

    def updated(self) -> Bye:
        """The messages are gone, for good (RFC 1939 §6)."""
        return Bye(replies.ok("bye"))

    def not_updated(self, fault: Pop3Fault) -> Bye:
        """They may still be there (RFC 1939 §6)."""
        return Bye(fault.reply())
