"""What a source of mail gives: mailboxes, and messages that name themselves the same at each run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Protocol

from postroom_cli.command import CommandError

_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_HEADER_END: Final = re.compile(rb"\r?\n\r?\n")
_UNFOLD: Final = re.compile(rb"\r?\n([ \t])")
_DATED: Final = re.compile(rb"^(Received|Date):([^\r\n]*)", re.IGNORECASE | re.MULTILINE)


class SourceFault(CommandError):
    """The source can't be read; the text says what to change."""


@dataclass(frozen=True, slots=True)
class SourceMessage:
    """One message. `key` is the same at each run; `read` returns its octets with CRLF lines.

    `mailbox` has `/` between the levels. `received_at` None: the message itself must say it.
    """

    mailbox: str
    key: str
    flags: tuple[str, ...]
    received_at: datetime | None
    read: Callable[[], bytes]


class Source(Protocol):
    """Read in a thread: its calls block."""

    def count(self) -> int:
        """How many messages there are in all."""

    def messages(self) -> Iterator[SourceMessage]:
        """All of them, mailbox by mailbox."""


def with_crlf(octets: bytes) -> bytes:
    """The message as it travels: files on Unix have LF alone (RFC 5322 §2.3).

    Where most lines end with CRLF the file is as it travelled, and stays as it is.
    """
    if octets.count(b"\r\n") * 2 > octets.count(b"\n"):
        return octets
    return _BARE_LF.sub(b"\r\n", octets)


def date_of(octets: bytes) -> datetime | None:
    """When the message was received, by its newest Received field, or written, by its Date (RFC 5322 §3.6)."""
    end = _HEADER_END.search(octets)
    header = _UNFOLD.sub(rb"\1", octets[: end.start()] if end else octets)
    found: dict[bytes, datetime] = {}
    for name, value in _DATED.findall(header):
        if name.lower() in found:
            continue
        text = value.rpartition(b";")[2] if name.lower() == b"received" else value
        try:
            parsed = parsedate_to_datetime(text.decode("latin-1").strip())
        except (ValueError, TypeError, OverflowError):
            continue
        found[name.lower()] = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    return found.get(b"received") or found.get(b"date")
