"""POP3 replies as octets: status lines and multi-line responses of our own text (RFC 1939 §3)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

TERMINATOR: Final = b".\r\n"


def ok(text: str = "") -> bytes:
    """`+OK text`, with CRLF. `text` is ours: printable ASCII."""
    return b"+OK " + text.encode("ascii") + b"\r\n" if text else b"+OK\r\n"


def continuation(challenge: bytes = b"") -> bytes:
    """`+ challenge` (RFC 5034 §4): the challenge is base64 already."""
    return b"+ " + challenge + b"\r\n"


def listing(text: str, lines: Iterable[str]) -> bytes:
    """A multi-line response of short lines of ours, none of which begins with a dot."""
    return ok(text) + "".join(f"{line}\r\n" for line in lines).encode("ascii") + TERMINATOR
