"""The POP3 server session, without I/O.

AUTHORIZATION → TRANSACTION → UPDATE (RFC 1939 §3). Everything that changes the
state lives in this file; sockets, TLS and the store live in the `pop3` service.

A session ends in UPDATE only by QUIT in TRANSACTION: a connection that breaks removes nothing (RFC 1939 §6).
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mail_proto.pop3.commands import (
    MAX_LINE_OCTETS,
    MAX_SASL_OCTETS,
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
    parse_command,
)
from mail_proto.pop3.errors import LineTooLong, NotNow, Pop3Fault
from mail_proto.pop3.maildrop import Maildrop


class State(enum.Enum):
    """RFC 1939 §3."""

    AUTHORIZATION = "authorization"
    TRANSACTION = "transaction"
    UPDATE = "update"


LEGAL: Final[dict[State, frozenset[type[Command]]]] = {
    State.AUTHORIZATION: frozenset({User, Pass, Auth, Stls, Capa, Quit}),
    State.TRANSACTION: frozenset({Stat, List, Retr, Dele, Noop, Rset, Top, Uidl, Capa, Quit}),
    State.UPDATE: frozenset(),
}


@dataclass(frozen=True, slots=True)
class SaslResponse:
    """The line that answers a `+ ` challenge; None when the client cancelled with `*` (RFC 5034 §4)."""

    line: bytes | None

    def __repr__(self) -> str:
        return "SaslResponse(…)"


class ServerSession:
    """Feed it octets, take commands out; tell it what came of them."""

    def __init__(self, *, offers_tls: bool, is_secure: bool, password_may_cross: bool) -> None:
        self.state = State.AUTHORIZATION
        self.offers_tls = offers_tls
        self.is_secure = is_secure
        self._password_may_cross = password_may_cross
        self.user: str | None = None
        self._maildrop: Maildrop | None = None
        self._awaits_response = False
        self._buffer = bytearray()

    @property
    def login_allowed(self) -> bool:
        """May a password cross this connection now?"""
        return self.is_secure or self._password_may_cross

    @property
    def maildrop(self) -> Maildrop:
        assert self._maildrop is not None, "only after login"
        return self._maildrop

    def receive(self, data: bytes) -> Iterator[Command | SaslResponse | Pop3Fault]:
        """Yield each command completed by `data`, in order; handle one before taking the next.

        A fault is yielded, not raised: the session goes on after it (RFC 1939 §3).
        Raises LineTooLong: no line end within the limit; close the connection.
        """
        self._buffer += data
        while (end := self._buffer.find(b"\r\n")) >= 0:
            self._check_length(end + 2)
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 2]
            yield self._accept(line)
        self._check_length(len(self._buffer))

    def _check_length(self, octets: int) -> None:
        if octets > (MAX_SASL_OCTETS if self._awaits_response else MAX_LINE_OCTETS):
            raise LineTooLong("line too long")

    def _accept(self, line: bytes) -> Command | SaslResponse | Pop3Fault:
        if self._awaits_response:
            self._awaits_response = False
            return SaslResponse(None if line == b"*" else line)
        try:
            command = parse_command(line)
            self._check_legal(command)
        except Pop3Fault as fault:
            return fault
        if not isinstance(command, Pass | Capa | Noop):
            self.user = None  # PASS counts only right after a USER (RFC 1939 §7)
        return command

    def _check_legal(self, command: Command) -> None:
        """Raises NotNow."""
        if type(command) not in LEGAL[self.state]:
            raise NotNow(f"not in the {self.state.value} state")
        match command:
            case User() | Pass() | Auth() if not self.login_allowed:
                raise NotNow("start TLS before you log in")
            case Pass() if self.user is None:
                raise NotNow("USER comes first")
            case Stls() if self.is_secure or not self.offers_tls:
                raise NotNow("TLS is already active" if self.is_secure else "TLS is not available")

    def await_response(self) -> None:
        """The next line is a SASL response, not a command."""
        self._awaits_response = True

    def secured(self) -> None:
        """TLS is up: forget all that came in clear (RFC 2595 §4)."""
        self.is_secure = True
        self.user = None
        self._buffer.clear()

    def logged_in(self, maildrop: Maildrop) -> None:
        """The lock is held and the maildrop open (RFC 1939 §4)."""
        assert self.state is State.AUTHORIZATION
        self.state, self.user, self._maildrop = State.TRANSACTION, None, maildrop

    def quit(self) -> bool:
        """QUIT arrived: True when it leads from TRANSACTION to UPDATE (RFC 1939 §6)."""
        updates = self.state is State.TRANSACTION
        self.state = State.UPDATE
        return updates

    def capabilities(self) -> list[str]:
        """Lines of CAPA (RFC 2449 §6, RFC 2595 §4, RFC 3206 §5, RFC 5034 §6): only what is true now."""
        lines = ["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER"]
        if self.login_allowed:
            lines += ["USER", "SASL PLAIN"]
        if self.offers_tls and not self.is_secure and self.state is State.AUTHORIZATION:
            lines.append("STLS")
        return [*lines, "IMPLEMENTATION Postroom"]
