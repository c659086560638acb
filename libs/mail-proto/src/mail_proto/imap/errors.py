"""Faults of an IMAP session; each knows its reply (RFC 3501 §7.1, RFC 5530 §3)."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar


class ImapFault(Exception):
    """`str(fault)` is safe to send to the client that caused it."""

    kind: ClassVar[bytes] = b"NO"

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code

    def reply(self, tag: bytes) -> bytes:
        """The tagged reply, with CRLF."""
        return status(tag, self.kind, str(self), self.code)


class SyntaxFault(ImapFault):
    """The command doesn't fit the grammar, or isn't allowed in this state."""

    kind = b"BAD"


class Refused(ImapFault):
    """A well-formed command that can't be done."""


def status(tag: bytes, kind: bytes, text: str, code: str = "") -> bytes:
    """`tag OK [CODE] text` CRLF; what isn't printable ASCII is shown as `?` (RFC 3501 §9 resp-text)."""
    return tag + _without_tag(kind, text, code)


@lru_cache(maxsize=200)
def _without_tag(kind: bytes, text: str, code: str) -> bytes:
    shown = text[:400] or "done"
    if not (shown.isascii() and shown.isprintable()):
        shown = "".join(char if " " <= char <= "~" else "?" for char in shown)
    prefix = b"[" + code.encode("ascii") + b"] " if code else b""
    return b" " + kind + b" " + prefix + shown.encode("ascii") + b"\r\n"
