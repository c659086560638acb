"""What a POP3 session wants of whoever does its I/O: one step at a time, each answered before the next is taken."""

from __future__ import annotations

from dataclasses import dataclass

from mail_proto.pop3.maildrop import Entry


@dataclass(frozen=True, slots=True)
class Reply:
    """Write these octets."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Bye:
    """Write these octets and close the connection."""

    octets: bytes = b""


@dataclass(frozen=True, slots=True)
class StartTls:
    """Write these octets, do the handshake, then call `secured` (RFC 2595 §4)."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class LogIn:
    """Check the password and open the maildrop, then call `logged_in` or `refused` (RFC 1939 §4)."""

    name: str
    password: str

    def __repr__(self) -> str:
        return "LogIn(…)"


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Begin a SASL exchange, then call `challenge`, `logged_in` or `refused` (RFC 5034 §4).

    `initial` is Base64 as it came; None: the client sent no initial response.
    """

    mechanism: str
    initial: bytes | None

    def __repr__(self) -> str:
        return f"Authenticate({self.mechanism!r}, …)"


@dataclass(frozen=True, slots=True)
class SaslResponse:
    """The line that answers a challenge, still Base64; go on as after Authenticate."""

    line: bytes

    def __repr__(self) -> str:
        return "SaslResponse(…)"


@dataclass(frozen=True, slots=True)
class Send:
    """Send message `msg`, or its header and the first `lines` lines of its body; `is_utf8`: the client said UTF8."""

    msg: int
    entry: Entry
    lines: int | None
    is_utf8: bool


@dataclass(frozen=True, slots=True)
class Update:
    """Remove the messages with these uids, all or none, then call `updated` or `not_updated` (RFC 1939 §6)."""

    uids: list[int]


Step = Reply | Bye | StartTls | LogIn | Authenticate | SaslResponse | Send | Update
