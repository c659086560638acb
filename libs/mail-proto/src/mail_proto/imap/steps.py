"""What an IMAP session wants of whoever does its I/O: one step at a time, each carried out before the next is taken."""

from __future__ import annotations

from dataclasses import dataclass, field

from mail_proto.imap.commands import Command


@dataclass(frozen=True, slots=True)
class Reply:
    """Write these octets."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Bye:
    """Write these octets and close the connection."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class StartTls:
    """Write these octets, do the handshake, then call `secured` (RFC 3501 §6.2.1)."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Compress:
    """Write these octets, call `compressed`, and compress everything from then on (RFC 4978)."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Unauthenticate:
    """Forget who the client is, write these octets as everything before, and compress nothing from then on; then call
    `unauthenticated` (RFC 8437 §3)."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class LogIn:
    """Check the password, then call `logged_in` or `failed` (RFC 3501 §6.2.3)."""

    tag: bytes
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Begin a SASL exchange, then call `challenge`, `logged_in` or `failed` (RFC 3501 §6.2.2).

    `initial` is Base64 as it came (RFC 4959); None: not sent.
    """

    tag: bytes
    mechanism: str
    initial: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class SaslResponse:
    """The line that answers a challenge, still Base64; go on as after Authenticate."""

    tag: bytes
    line: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Idle:
    """Write these octets, then tell news as they come, until the next step is taken (RFC 2177)."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Run:
    """Do the command at the store, write its responses, then call `done` or `failed` with the tag."""

    tag: bytes
    command: Command


Step = Reply | Bye | StartTls | Compress | Unauthenticate | LogIn | Authenticate | SaslResponse | Idle | Run
