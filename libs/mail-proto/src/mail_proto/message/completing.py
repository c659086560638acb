"""What a submission server adds to a message, and takes out of it (RFC 6409 §8, RFC 5322 §3.6.3)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Final

from mail_proto.message.address_list import parse_list
from mail_proto.message.headers import FieldLine, lines

_BLIND: Final = frozenset({b"bcc", b"resent-bcc"})


@dataclass(frozen=True, slots=True)
class Submitter:
    """Who submits: the account's address, and all that it may write as, in any case."""

    address: str
    own: Collection[str]


@dataclass(frozen=True, slots=True)
class Completed:
    """`message` as it is sent; `blind` are the fields taken out, which the sender's own copy keeps."""

    message: bytes
    blind: bytes


def completed(message: bytes, submitter: Submitter, date: datetime, message_id: str) -> Completed:
    """Add Date, Message-ID and From where they are missing, take out Bcc.

    A Sender that isn't the submitter's is taken out, and one is added where From is somebody else (RFC 6409 §8.1).
    `message_id` is without brackets. Octets that stay are as they were.
    """
    header, body = _split(message)
    found = list(lines(header))
    names = {line.name.lower() for line in found}
    is_own = {name: _is_own(header, found, name, submitter) for name in (b"from", b"sender")}
    leaves_out = _BLIND if is_own[b"sender"] else _BLIND | {b"sender"}
    kept = b"".join(header[line.start : line.end] for line in found if line.name.lower() not in leaves_out)
    blind = b"".join(header[line.start : line.end] for line in found if line.name.lower() in _BLIND)
    if kept and not kept.endswith(b"\n"):
        kept += b"\r\n"
    added = b""
    if b"date" not in names:
        added += f"Date: {format_datetime(date)}\r\n".encode()
    if b"message-id" not in names:
        added += f"Message-ID: <{message_id}>\r\n".encode()
    if b"from" not in names:
        added += f"From: {submitter.address}\r\n".encode()
    elif not is_own[b"from"] and not (b"sender" in names and is_own[b"sender"]):
        added += f"Sender: {submitter.address}\r\n".encode()
    return Completed(added + kept + body, blind)


def _split(message: bytes) -> tuple[bytes, bytes]:
    """Header, and the rest with the empty line before it; what begins with no field has no header."""
    end = message.find(b"\r\n\r\n")
    header = message if end < 0 else message[: end + 2]
    first = next(lines(header), None)
    if first is None or not first.name:
        return b"", message if message.startswith(b"\r\n") else b"\r\n" + message
    return header, message[len(header) :]


def _is_own(header: bytes, found: list[FieldLine], name: bytes, submitter: Submitter) -> bool:
    """Is every field of that name one that names the submitter? True where there is none."""
    own = {address.casefold() for address in (submitter.address, *submitter.own)}
    return all(
        any(
            (address.mailbox + b"@" + address.host).decode("utf-8", "replace").casefold() in own
            for address in parse_list(header[line.value_start : line.value_end])
            if address.mailbox is not None and address.host is not None
        )
        for line in found
        if line.name.lower() == name
    )
