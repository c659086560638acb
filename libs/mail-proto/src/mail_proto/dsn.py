"""Delivery status notifications: the bounce that a sender gets (RFC 3464, RFC 6522)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Final

from mail_proto.message.structure import scan

# The returned header is for the reader's orientation; all of it is in the sender's own copy.
MAX_RETURNED_OCTETS: Final = 65_536
_LINE_OCTETS: Final = 900


@dataclass(frozen=True, slots=True)
class FailedRecipient:
    """`status` is an enhanced code (RFC 3463), `reply` the words of `remote`, or ours where it is empty."""

    address: str
    status: str
    reply: str
    remote: str


def delivery_status_notification(
    reporting_host: str,
    reverse_path: str,
    failures: Sequence[FailedRecipient],
    original: bytes,
    message_id: str,
    now: datetime,
) -> bytes:
    """A complete message, lines ended by CRLF, to be sent with the null reverse path (RFC 5321 §4.5.5).

    `message_id` has its angle brackets; `now` is aware.
    """
    boundary = "=_" + "".join(character for character in message_id if character.isalnum())[:60]
    header = _returned_header(original)
    # RFC 6533: other types where an address isn't ASCII.
    is_ascii = all(failure.address.isascii() for failure in failures)
    status_type = "message/delivery-status" if is_ascii else "message/global-delivery-status"
    header_type = "text/rfc822-headers" if is_ascii else "message/global-headers"
    sections = [
        _head(reporting_host, reverse_path, boundary, message_id, now),
        f"--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        + _explanation(reporting_host, failures),
        f"--{boundary}\r\nContent-Type: {status_type}\r\n"
        f"Content-Transfer-Encoding: 8bit\r\n\r\n" + _status(reporting_host, failures),
        f"--{boundary}\r\nContent-Type: {header_type}\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
    ]
    return "".join(sections).encode() + header + f"\r\n--{boundary}--\r\n".encode()


def _head(reporting_host: str, reverse_path: str, boundary: str, message_id: str, now: datetime) -> str:
    return (
        f"From: Mail Delivery System <MAILER-DAEMON@{reporting_host}>\r\n"
        f"To: <{reverse_path}>\r\n"
        "Subject: Undelivered Mail Returned to Sender\r\n"
        f"Date: {format_datetime(now)}\r\n"
        f"Message-ID: {message_id}\r\n"
        "Auto-Submitted: auto-replied\r\n"
        "MIME-Version: 1.0\r\n"
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n boundary="{boundary}"\r\n'
        "Content-Transfer-Encoding: 8bit\r\n\r\n"
    )


def _explanation(reporting_host: str, failures: Sequence[FailedRecipient]) -> str:
    lines = [
        f"This is the mail system at {reporting_host}.",
        "",
        "Your message could not be delivered to the recipients below.",
        "It will not be tried again.",
        "",
    ]
    for failure in failures:
        speaker = f"{failure.remote} said: " if failure.remote else ""
        lines += _wrapped(f"<{failure.address}>: {speaker}{_one_line(failure.reply)}", "    ")
        lines.append("")
    return "".join(line + "\r\n" for line in lines)


def _status(reporting_host: str, failures: Sequence[FailedRecipient]) -> str:
    groups = [f"Reporting-MTA: dns; {reporting_host}\r\n"]
    for failure in failures:
        kind = "rfc822" if failure.address.isascii() else "utf-8"
        lines = [f"Final-Recipient: {kind}; {failure.address}", "Action: failed", f"Status: {failure.status}"]
        if failure.remote:
            lines.append(f"Remote-MTA: dns; {failure.remote}")
            lines += _wrapped(f"Diagnostic-Code: smtp; {_one_line(failure.reply)}", " ")
        else:
            lines += _wrapped(f"Diagnostic-Code: x-postroom; {_one_line(failure.reply)}", " ")
        groups.append("".join(line + "\r\n" for line in lines))
    return "\r\n".join(groups) + "\r\n"


def _one_line(text: str) -> str:
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def _wrapped(text: str, indent: str) -> list[str]:
    """Lines of at most _LINE_OCTETS characters: RFC 5321 §4.5.3.1.6 allows 998 octets."""
    size = _LINE_OCTETS // 4
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    return [piece if number == 0 else indent + piece for number, piece in enumerate(pieces)]


def _returned_header(original: bytes) -> bytes:
    header = original[: min(scan(original).body_start, MAX_RETURNED_OCTETS)]
    lines = header.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    kept = [line[:998] for line in lines if line]
    return b"".join(line + b"\r\n" for line in kept)
