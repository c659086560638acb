"""Replies of a remote SMTP server: framing, codes, enhanced status, EHLO keywords (RFC 5321 §4.2, RFC 2034)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# RFC 5321 §4.5.3.1.5 allows 512 octets; servers that put addresses and URLs into refusals go beyond.
REPLY_LINE_LIMIT_OCTETS: Final = 4096
# No limit in the RFC; the longest EHLO and policy texts seen have some dozens of lines.
REPLY_LINES_LIMIT: Final = 200
# What of a reply is kept for queue and DSN.
REPLY_TEXT_LIMIT: Final = 1000

# Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
# Reply-code = %x32-35 %x30-35 %x30-39
# Laxer: the second digit may be any (some servers say 571 or 598), and LF alone ends a line.
_REPLY_LINE: Final = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
# status-code = class "." subject "." detail (RFC 3463 §2)
_ENHANCED: Final = re.compile(r"([245])\.([0-9]{1,3})\.([0-9]{1,3})(?= |$)")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class ReplyFault(Exception):
    """The server's octets are no SMTP reply; the connection can't be used any more."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One complete reply; `lines` are the texts after the code, control characters replaced."""

    code: int
    lines: tuple[str, ...]

    @property
    def positive(self) -> bool:
        return 200 <= self.code < 300

    @property
    def temporary(self) -> bool:
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        return self.code >= 500

    @property
    def status(self) -> str:
        """Enhanced status code; one of the reply's class when the server gave none or one that contradicts."""
        found = _ENHANCED.match(self.lines[0])
        kind = str(self.code)[0]
        if found is None or found[1] != kind:
            return f"{kind}.0.0"
        return found[0]

    def __str__(self) -> str:
        """On one line, as logs, the queue and a DSN's Diagnostic-Code show it."""
        return f"{self.code} {' '.join(line for line in self.lines if line)}".rstrip()[:REPLY_TEXT_LIMIT]


class ReplyReader:
    """Cuts octets, however they are split, into replies. One per connection; a new one after STARTTLS."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._code = 0
        self._lines: list[str] = []

    @property
    def empty(self) -> bool:
        """Nothing is left over: required when TLS starts, or plaintext could be injected (RFC 3207 §6)."""
        return not self._pending and not self._lines

    def feed(self, octets: bytes) -> list[Reply]:
        """Replies that are complete now, in order. Raises ReplyFault: not a reply, or beyond the limits."""
        self._pending += octets
        replies = []
        while (end := self._pending.find(b"\n")) >= 0:
            line = bytes(self._pending[:end]).removesuffix(b"\r")
            del self._pending[: end + 1]
            if (reply := self._line(line)) is not None:
                replies.append(reply)
        if len(self._pending) > REPLY_LINE_LIMIT_OCTETS:
            raise ReplyFault("the server's reply line is too long")
        return replies

    def _line(self, line: bytes) -> Reply | None:
        if len(line) > REPLY_LINE_LIMIT_OCTETS:
            raise ReplyFault("the server's reply line is too long")
        found = _REPLY_LINE.fullmatch(line)
        if found is None:
            raise ReplyFault(f"the server's answer is no SMTP reply: {_text(line)[:80]!r}")
        code = int(found[1])
        if self._lines and code != self._code:
            raise ReplyFault(f"the server changed its reply code from {self._code} to {code}")
        self._code = code
        self._lines.append(_text(found[3] or b""))
        if found[2] == b"-":
            if len(self._lines) >= REPLY_LINES_LIMIT:
                raise ReplyFault("the server's reply has too many lines")
            return None
        reply = Reply(code, tuple(self._lines))
        self._lines = []
        return reply


def _text(octets: bytes) -> str:
    return _CONTROL.sub("?", octets.decode("utf-8", "replace"))


def extensions(reply: Reply) -> Mapping[str, str]:
    """Keyword (upper case) → parameters of an EHLO answer (RFC 5321 §4.1.1.1); the first line is the greeting."""
    offered = {}
    for line in reply.lines[1:]:
        keyword, _, parameters = line.strip().partition(" ")
        if keyword:
            offered[keyword.upper()] = parameters.strip()
    return offered
