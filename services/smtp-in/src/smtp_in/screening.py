"""The seam for what is judged besides the rules of SMTP: who connects, its name, senders, recipients, contents.

`Connection` asks a `Screen` at each point; its methods raise `Refusal`, whose reply the client gets, and may take time.
A reply of 421 ends the session. What goes wrong in a screen must be turned into a temporary refusal by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mail_proto.smtp.arguments import MailArguments, RcptArguments
from mail_proto.smtp.errors import SmtpFault
from mail_proto.smtp.replies import Reply
from mail_proto.smtp.steps import Envelope
from mail_runtime.contracts.store import Principal
from smtp_in.listener import Listener


class Refusal(SmtpFault):
    """Well-formed, but not allowed."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.text)
        self._reply = reply

    def reply(self) -> Reply:
        return self._reply


@dataclass(slots=True)
class Visitor:
    """Who is connected, as far as is known; the connection keeps it current.

    `address` is empty or "unknown" where nobody can say; `errors` counts permanent refusals in a row.
    """

    listener: Listener
    address: str
    name: str = ""
    is_secure: bool = False
    principal: Principal | None = None
    errors: int = 0


@dataclass(frozen=True, slots=True)
class Screened:
    """A message that may pass: `fields` are put in front of it, behind the trace header; with CRLF, or empty.

    `junk`: it goes into Junk.
    """

    message: bytes
    fields: bytes = b""
    junk: bool = False


class Screen(Protocol):
    """Of one connection."""

    async def connected(self, visitor: Visitor) -> None:
        """Before the greeting, and again when a proxy names another client (XCLIENT)."""

    async def greeted(self, visitor: Visitor) -> None:
        """At EHLO, LHLO or HELO."""

    async def sender(self, visitor: Visitor, mail: MailArguments) -> None:
        """At MAIL."""

    async def recipient(self, visitor: Visitor, mail: MailArguments, recipient: RcptArguments) -> None:
        """At RCPT, for addresses that exist."""

    async def message(self, visitor: Visitor, envelope: Envelope, message: bytes) -> Screened:
        """At the end of data."""

    async def refused(self, visitor: Visitor) -> None:
        """What the client wanted is about to be refused, by whomever."""

    async def ended(self, visitor: Visitor) -> None:
        """The connection is closed; whatever `connected` took is given back."""


class OpenDoor:
    """A screen that lets everything pass."""

    async def connected(self, visitor: Visitor) -> None: ...

    async def greeted(self, visitor: Visitor) -> None: ...

    async def sender(self, visitor: Visitor, mail: MailArguments) -> None: ...

    async def recipient(self, visitor: Visitor, mail: MailArguments, recipient: RcptArguments) -> None: ...

    async def message(self, visitor: Visitor, envelope: Envelope, message: bytes) -> Screened:
        return Screened(message)

    async def refused(self, visitor: Visitor) -> None: ...

    async def ended(self, visitor: Visitor) -> None: ...
