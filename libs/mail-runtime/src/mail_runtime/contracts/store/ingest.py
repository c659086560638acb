"""Messages on their way in."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

import msgspec

# RFC 3461 §4.1: of what the sender wants to hear. "never" stands alone.
Notify = Literal["never", "success", "failure", "delay"]
# RFC 3461 §4.3: how much of the message a failure report brings back; empty: nothing was said.
Ret = Literal["", "full", "hdrs"]


# RFC 8689: "required" by the REQUIRETLS of MAIL, "optional" by the header field TLS-Required: No; empty: neither.
TlsWish = Literal["", "required", "optional"]


class DsnRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What RCPT asked about notifications (RFC 3461 §4.1, §4.2).

    `notify` is None where the parameter was absent. `orcpt` is `addr-type ";" address`, decoded from xtext.
    """

    notify: list[Notify] | None = None
    orcpt: str = ""


class Transmission(msgspec.Struct, frozen=True, kw_only=True):
    """Envelope of one accepted DATA. The message follows it in the same HTTP body.

    `id` is made by the frontend once per DATA: a repeated POST with the same id stores nothing twice.
    `submitted_by` is None for mail from outside: then every recipient must be local.
    An empty `reverse_path` is the null reverse path. `ret` and `envid` (decoded from xtext) are those of MAIL;
    `dsn` has what was asked for recipients, by their address in `recipients`. `junk`: into Junk where there is one.
    `tls_wish`: what MAIL said; where it said nothing, the store looks into the header.
    """

    id: UUID
    reverse_path: str
    recipients: list[str]
    submitted_by: UUID | None = None
    smtputf8: bool = False
    ret: Ret = ""
    envid: str = ""
    dsn: dict[str, DsnRequest] = {}
    junk: bool = False
    tls_wish: TlsWish = ""


class Handed(msgspec.Struct, frozen=True, kw_only=True):
    """One of several transmissions of a request, whose messages follow as a stream. `traceparent`: its trace."""

    transmission: Transmission
    traceparent: str = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one of them: as if it had come alone, an HTTP status and the text of an error."""

    status: int
    text: str = ""


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """Committed: the message is stored and every recipient is delivered or queued."""

    transmission_id: UUID
