"""What an SMTP session wants of whoever does its I/O: one step at a time, each answered before the next is taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mail_proto.smtp.arguments import MailArguments, RcptArguments


@dataclass(frozen=True, slots=True)
class Greeted:
    """HELO, EHLO or LHLO came; judge the name, then call `greeted` or `refused`."""

    name: str


@dataclass(frozen=True, slots=True)
class CheckSender:
    """May this sender write? Call `sender_accepted` or `refused`."""

    mail: MailArguments


@dataclass(frozen=True, slots=True)
class CheckRecipient:
    """Is there such a recipient? Call `recipient_accepted` or `refused`."""

    recipient: RcptArguments


@dataclass(frozen=True, slots=True)
class Envelope:
    """What was said about a message before its data. `keyword` is that of the trace header (RFC 3848)."""

    mail: MailArguments
    recipients: tuple[RcptArguments, ...]
    keyword: str
    client_name: str
    is_secure: bool


@dataclass(frozen=True, slots=True)
class Deliver:
    """A message came; call `delivered` with a reply, or in LMTP one per recipient (RFC 2033 §4.2)."""

    envelope: Envelope
    message: bytes


@dataclass(frozen=True, slots=True)
class StartTls:
    """Send what is queued, do the handshake, then call `secured` (RFC 3207 §4)."""


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Begin a SASL exchange, then call `challenge`, `logged_in` or `refused` (RFC 4954 §4).

    `initial` is decoded; None: the client sent no initial response.
    """

    mechanism: str
    initial: bytes | None

    def __repr__(self) -> str:
        return f"Authenticate({self.mechanism!r}, …)"


@dataclass(frozen=True, slots=True)
class Respond:
    """The decoded answer to a challenge; go on as after Authenticate."""

    response: bytes

    def __repr__(self) -> str:
        return "Respond(…)"


@dataclass(frozen=True, slots=True)
class Introduced:
    """A proxy said who the client is: `session.client_address` is another one now. Call `greet` or `turn_away`."""


@dataclass(frozen=True, slots=True)
class Close:
    """Send what is queued and close."""


Step = Greeted | CheckSender | CheckRecipient | Deliver | StartTls | Authenticate | Respond | Introduced | Close
Waits = Literal["command", "data"]
