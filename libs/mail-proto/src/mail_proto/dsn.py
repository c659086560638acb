"""Delivery status notifications: what a sender is told of its message (RFC 3464, RFC 3461 §6, RFC 6522, RFC 6533)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Final, Literal

from mail_proto.message.structure import scan

# action-value of RFC 3464 §2.3.3. "relayed": the next hop took it and doesn't report (RFC 3461 §5.2.2).
Action = Literal["failed", "delayed", "delivered", "relayed"]

# The returned header is for the reader's orientation; all of it is in the sender's own copy.
MAX_RETURNED_OCTETS: Final = 65_536
_LINE_OCTETS: Final = 900

_SUBJECTS: Final[dict[Action, str]] = {
    "failed": "Undelivered Mail Returned to Sender",
    "delayed": "Your mail is delayed, no need to send it again",
    "delivered": "Your mail was delivered",
    "relayed": "Your mail was passed on",
}
_WORDS: Final[dict[Action, tuple[str, ...]]] = {
    "failed": ("Your message could not be delivered to the recipients below.", "It will not be tried again."),
    "delayed": (
        "Your message has not yet been delivered to the recipients below.",
        "It will be tried again; you don't need to send it once more.",
    ),
    "delivered": ("Your message was delivered to the recipients below.",),
    "relayed": (
        "Your message was passed on for the recipients below, to where nobody",
        "reports what becomes of it.",
    ),
}


@dataclass(frozen=True, slots=True)
class RecipientReport:
    """What happened for one recipient.

    `status` is an enhanced code (RFC 3463), `reply` the words of `remote`, or ours where that is empty. `original` is
    the ORCPT of the sender, decoded: `addr-type ";" address`. `retried_until` belongs to "delayed".
    """

    address: str
    status: str
    reply: str
    remote: str
    action: Action = "failed"
    original: str = ""
    retried_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Notification:
    """One notification to one sender.

    `message_id` has its angle brackets; `now` and `arrived` are aware. `original` is the message that it is about, all
    of it where `returns_message`, else at least its header. `envelope_id` is the sender's ENVID, decoded.
    """

    reporting_host: str
    reverse_path: str
    recipients: Sequence[RecipientReport]
    original: bytes
    message_id: str
    now: datetime
    arrived: datetime | None = None
    envelope_id: str = ""
    returns_message: bool = False

    @property
    def boundary(self) -> str:
        return "=_" + "".join(character for character in self.message_id if character.isalnum())[:60]

    @property
    def is_ascii(self) -> bool:
        """Whether the types of RFC 3464 do; else those of RFC 6533."""
        texts = (f"{recipient.address}{recipient.original}" for recipient in self.recipients)
        return all(text.isascii() for text in texts)


def delivery_status_notification(told: Notification) -> bytes:
    """A complete message, lines ended by CRLF, to be sent with the null reverse path (RFC 5321 §4.5.5)."""
    status_type = "message/delivery-status" if told.is_ascii else "message/global-delivery-status"
    sections = (
        _head(told),
        _part(told, "text/plain; charset=utf-8") + _explanation(told),
        _part(told, status_type) + _status(told),
        _part(told, _returned_type(told)),
    )
    returned = _whole(told.original) if told.returns_message else _returned_header(told.original)
    return "".join(sections).encode() + returned + f"\r\n--{told.boundary}--\r\n".encode()


def _part(told: Notification, media_type: str) -> str:
    return f"--{told.boundary}\r\nContent-Type: {media_type}\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"


def _returned_type(told: Notification) -> str:
    if told.returns_message:
        return "message/rfc822" if told.is_ascii else "message/global"
    return "text/rfc822-headers" if told.is_ascii else "message/global-headers"


def _actions(told: Notification) -> list[Action]:
    """Those that occur, the worst first."""
    found = {recipient.action for recipient in told.recipients}
    return [action for action in _SUBJECTS if action in found]


def _head(told: Notification) -> str:
    return (
        f"From: Mail Delivery System <MAILER-DAEMON@{told.reporting_host}>\r\n"
        f"To: <{told.reverse_path}>\r\n"
        f"Subject: {_SUBJECTS[_actions(told)[0]]}\r\n"
        f"Date: {format_datetime(told.now)}\r\n"
        f"Message-ID: {told.message_id}\r\n"
        "Auto-Submitted: auto-replied\r\n"
        "MIME-Version: 1.0\r\n"
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n boundary="{told.boundary}"\r\n'
        "Content-Transfer-Encoding: 8bit\r\n\r\n"
    )


def _explanation(told: Notification) -> str:
    lines = [f"This is the mail system at {told.reporting_host}.", ""]
    for action in _actions(told):
        lines += [*_WORDS[action], ""]
        for recipient in told.recipients:
            if recipient.action == action:
                speaker = f"{recipient.remote} said: " if recipient.remote else ""
                lines += _wrapped(f"<{recipient.address}>: {speaker}{_one_line(recipient.reply)}", "    ")
                lines.append("")
    return "".join(line + "\r\n" for line in lines)


def _status(told: Notification) -> str:
    """delivery-status-content of RFC 3464 §2.1: a group for the message, one for each recipient."""
    lines = []
    if told.envelope_id:
        lines += _wrapped(f"Original-Envelope-Id: {_one_line(told.envelope_id)}", " ")
    lines.append(f"Reporting-MTA: dns; {told.reporting_host}")
    if told.arrived is not None:
        lines.append(f"Arrival-Date: {format_datetime(told.arrived)}")
    groups = [lines, *(_recipient(recipient) for recipient in told.recipients)]
    return "\r\n".join("".join(line + "\r\n" for line in group) for group in groups) + "\r\n"


def _recipient(recipient: RecipientReport) -> list[str]:
    """per-recipient-fields of RFC 3464 §2.3."""
    kind = "rfc822" if recipient.address.isascii() else "utf-8"
    lines = []
    if recipient.original:
        lines += _wrapped(f"Original-Recipient: {_one_line(recipient.original)}", " ")
    lines += [
        f"Final-Recipient: {kind}; {recipient.address}",
        f"Action: {recipient.action}",
        f"Status: {recipient.status}",
    ]
    if recipient.remote:
        lines.append(f"Remote-MTA: dns; {recipient.remote}")
    speaker = "smtp" if recipient.remote else "x-postroom"
    lines += _wrapped(f"Diagnostic-Code: {speaker}; {_one_line(recipient.reply)}", " ")
    if recipient.retried_until is not None:
        lines.append(f"Will-Retry-Until: {format_datetime(recipient.retried_until)}")
    return lines


def _one_line(text: str) -> str:
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def _wrapped(text: str, indent: str) -> list[str]:
    """Lines of at most _LINE_OCTETS characters: RFC 5321 §4.5.3.1.6 allows 998 octets."""
    size = _LINE_OCTETS // 4
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    return [piece if number == 0 else indent + piece for number, piece in enumerate(pieces)]


def _whole(original: bytes) -> bytes:
    return original if original.endswith(b"\r\n") else original + b"\r\n"


def _returned_header(original: bytes) -> bytes:
    header = original[: min(scan(original).body_start, MAX_RETURNED_OCTETS)]
    lines = header.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    kept = [line[:998] for line in lines if line]
    return b"".join(line + b"\r\n" for line in kept)
