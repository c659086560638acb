"""What a client session is given, asks its shell to do, and finds out (RFC 5321 §4.5.3.2, RFC 3463)."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Final, Literal

# RFC 5321 §4.5.3.2, seconds to wait for the reply.
GREETING_TIMEOUT_S: Final = 300.0
COMMAND_TIMEOUT_S: Final = 300.0
DATA_TIMEOUT_S: Final = 120.0
BLOCK_TIMEOUT_S: Final = 180.0
END_OF_DATA_TIMEOUT_S: Final = 600.0
# Everything is decided by then: the answer to QUIT is only waited for out of politeness.
QUIT_TIMEOUT_S: Final = 5.0

Result = Literal["delivered", "deferred", "failed"]
# never: don't ask for it; may: when it is offered; must: no mail without it.
StartTlsUse = Literal["never", "may", "must"]


@dataclass(frozen=True, slots=True)
class Login:
    """Credentials for AUTH (RFC 4954)."""

    user: str
    password: str = field(repr=False)

    def plain(self) -> str:
        """message = [authzid] UTF8NUL authcid UTF8NUL passwd, in base64 (RFC 4616 §2)."""
        return _base64(f"\0{self.user}\0{self.password}")

    def steps(self) -> tuple[str, str]:
        """The answers to the two questions of LOGIN, which has no RFC but servers that know nothing else."""
        return _base64(self.user), _base64(self.password)


@dataclass(frozen=True, slots=True)
class Manner:
    """How to speak to a server. `lmtp`: LHLO, and an answer per recipient after the message (RFC 2033).

    `never_ourselves`: a server that calls itself by our name would send the mail round in circles.
    """

    hostname: str
    starttls: StartTlsUse = "may"
    lmtp: bool = False
    login: Login | None = None
    never_ourselves: bool = False


@dataclass(frozen=True, slots=True)
class Envelope:
    """What is to be sent. `eight_bit`: the message has octets over 127; `utf8`: it needs SMTPUTF8 (RFC 6531).

    `dsn` and, one for each recipient or none at all, `recipients_dsn` are the parameters for servers that offer DSN.
    `requires_tls`: the next hop is told so, where it offers REQUIRETLS (RFC 8689).
    """

    reverse_path: str
    recipients: tuple[str, ...]
    octets: int
    eight_bit: bool = False
    utf8: bool = False
    dsn: str = ""
    recipients_dsn: tuple[str, ...] = ()
    requires_tls: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """How it ended for one recipient: the server's words, or ours, and an enhanced status (RFC 3463)."""

    result: Result
    reply: str
    status: str


@dataclass(frozen=True, slots=True)
class Send:
    """Write `octets` (none: the command went out before), then feed the reply that comes within `timeout_s`."""

    octets: bytes
    timeout_s: float


@dataclass(frozen=True, slots=True)
class StartTls:
    """Do the handshake, then call `secured()`."""


@dataclass(frozen=True, slots=True)
class SendMessage:
    """Write the dot-stuffed message, each block within BLOCK_TIMEOUT_S, then feed the reply."""

    timeout_s: float = END_OF_DATA_TIMEOUT_S


@dataclass(frozen=True, slots=True)
class Idle:
    """The server waits for a transaction: call `begin(envelope)` or `quit()`."""


@dataclass(frozen=True, slots=True)
class Close:
    """Nothing more to say."""


Action = Send | StartTls | SendMessage | Idle | Close


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")
