"""POP3 replies as octets: status lines, multi-line responses, byte-stuffing (RFC 1939 §3)."""

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


def message(octets: bytes, text: str) -> bytes:
    """A multi-line response that carries a message.

    Lines end with CRLF and with nothing else: a bare LF is an octet of its line, and stays as it is.
    A message whose last line has no CRLF gets one on the wire, since the terminator needs it.
    """
    return ok(text) + stuffed(octets) + TERMINATOR


def stuffed(octets: bytes) -> bytes:
    """Octets with the dot doubled at the beginning of lines, and CRLF at the end.

    Also behind a bare LF: fetchmail, poplib and others take it for a line end, and a lone dot behind it for the end of
    the message; what follows would be taken for replies.
    """
    if octets.startswith(b"."):
        octets = b"." + octets
    if b"\n." in octets:
        octets = octets.replace(b"\n.", b"\n..")
    return octets if not octets or octets.endswith(b"\r\n") else octets + b"\r\n"


def top(octets: bytes, lines: int) -> bytes:
    """Header, empty line and the first `lines` lines of the body (RFC 1939 §7, TOP).

    A message without an empty line is all header. Lines are counted by LF: it ends those of CRLF too.
    """
    ends = [at for at in (_after(octets, b"\r\n\r\n"), _after(octets, b"\n\n")) if at >= 0]
    if octets.startswith(b"\r\n"):
        ends.append(2)
    if not ends:
        return octets
    at = min(ends)
    for _ in range(lines):
        following = octets.find(b"\n", at)
        if following < 0:
            return octets
        at = following + 1
    return octets[:at]


def _after(octets: bytes, mark: bytes) -> int:
    at = octets.find(mark)
    return at + len(mark) if at >= 0 else -1
