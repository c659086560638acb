"""What a mechanism asks for next, and what it is told.

start ── Response | None ──► mechanism ──► Challenge      the client's answer comes back as Response
                                      ──► PasswordGiven  right or wrong: the exchange is over
                                      ──► ScramStarted   whoever keeps the verifiers answers Salt
                                      ──► ProofGiven     … Signature; a wrong proof ends the exchange
                                      ──► TokenGiven     right: over; wrong: Refused, and a last Challenge
                                      ──► Finished       the login stands
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class Challenge:
    """Send this to the client (Base64 is the frontend's business)."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class PasswordGiven:
    """Check this password."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ScramStarted:
    """Ask for the salt and iteration count of this user."""

    username: str


@dataclass(frozen=True, slots=True)
class ProofGiven:
    """Check this proof against the user's verifiers (RFC 5802 §3)."""

    username: str
    auth_message: bytes
    proof: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class TokenGiven:
    """Check this bearer token. `username` is empty where the client leaves it to the token."""

    username: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Finished:
    """The client has taken the server's last word."""


@dataclass(frozen=True, slots=True)
class Response:
    """What the client sent, decoded; None: no initial response."""

    octets: bytes | None


@dataclass(frozen=True, slots=True)
class Salt:
    """Answer to ScramStarted."""

    salt: bytes
    iterations: int


@dataclass(frozen=True, slots=True)
class Signature:
    """Answer to ProofGiven: it was right, and this is the server's signature."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """Answer to TokenGiven: it was wrong."""


Step: TypeAlias = Challenge | PasswordGiven | ScramStarted | ProofGiven | TokenGiven | Finished
Event: TypeAlias = Response | Salt | Signature | Refused


class Mechanism(Protocol):
    """One exchange; used once."""

    def receive(self, event: Event) -> Step:
        """Begin with the initial `Response`. Raises SaslFault: the exchange is over."""
        ...
