"""What an export writes: each message once, however often the command runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self


@dataclass(frozen=True, slots=True)
class ExportedMessage:
    """A message of a mailbox; `id` and `uid` name it the same at each run."""

    id: str
    uid: int
    flags: tuple[str, ...]
    received_at: datetime


class Target(Protocol):
    """A mailbox that is being written while a `with` block runs, in a thread: its calls block."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Without an error, all messages of the mailbox are written."""

    def has(self, message: ExportedMessage) -> bool:
        """Whether an earlier run wrote it, in whole."""

    def write(self, message: ExportedMessage, octets: bytes) -> None:
        """Write it, in the form of `as_file`."""


def as_file(octets: bytes) -> bytes:
    """LF for CRLF, as other programs expect; a message with bare ones stays as it is."""
    lines = octets.replace(b"\r\n", b"\n")
    return lines if lines.replace(b"\n", b"\r\n") == octets and b"\r" not in lines else octets
