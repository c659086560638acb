"""Commands out of a stream of octets: lines, and the literals in them (RFC 3501 §4.3, RFC 7888).

command = tag SP … CRLF      literal = "{" number ["+"] "}" CRLF *CHAR8
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

# RFC 7162 §4 recommends 8,192; sets of many uids are longer.
MAX_LINE_OCTETS: Final = 65_536
# Literals outside APPEND: names, passwords, search texts, all of one command together.
MAX_LITERALS_OCTETS: Final = 65_536
# A literal that was refused but comes nonetheless is read and dropped up to this size.
MAX_SKIPPED_OCTETS: Final = 268_435_456

_LITERAL: Final = re.compile(rb"\{([0-9]{1,12})(\+?)\}$")
_TAG: Final = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\+]+(?= )')
_APPEND: Final = re.compile(rb"[^ ]+ +(?:APPEND|(?:UID +)?REPLACE) ", re.IGNORECASE)


class FramingLost(Exception):
    """Nothing that follows can be understood: say BYE and close."""


@dataclass(frozen=True, slots=True)
class Line:
    """A complete command: without its CRLF, literals in place (`{3}` CRLF `abc`)."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class ContinuationNeeded:
    """The client waits for `+` before it sends a literal."""


@dataclass(frozen=True, slots=True)
class LiteralRefused:
    """A literal larger than allowed. `is_append`: the message is too big."""

    tag: bytes
    is_append: bool


Event = Line | ContinuationNeeded | LiteralRefused


class Framing:
    """Feed it octets, take events; None means that more octets are needed.

    `max_append_octets` bounds the literals of APPEND and REPLACE; raise it once the client has logged in.
    """

    def __init__(self, max_append_octets: int = 0) -> None:
        self.max_append_octets = max_append_octets
        self._buffer = bytearray()
        self._searched = 0
        self._command = bytearray()
        self._line_octets = self._literal_octets = 0
        self._wanted = self._skipped = 0
        self._dropping = False

    def feed(self, octets: bytes) -> None:
        self._buffer += octets

    def clear(self) -> None:
        """Forget everything: TLS has begun (RFC 3501 §6.2.1)."""
        self.__init__(self.max_append_octets)  # type: ignore[misc]

    def next_event(self) -> Event | None:
        """Raises FramingLost: a line or a literal has no acceptable end."""
        while True:
            if not self._buffer or not self._take_literal():
                return None
            line = self._take_line()
            if line is None:
                return None
            if self._dropping:
                self._drop_line(line)
                continue
            if not self._command and not line.endswith(b"}"):  # as a rule, a command of one line
                return Line(line)
            self._command += line
            self._line_octets += len(line)
            if self._line_octets > MAX_LINE_OCTETS:
                raise FramingLost("line too long")
            literal = _LITERAL.search(line)
            if literal is None:
                octets = bytes(self._command)
                self._reset()
                return Line(octets)
            event = self._begin_literal(int(literal[1]), waits=not literal[2])
            if event is not None:
                return event

    def _drop_line(self, line: bytes) -> None:
        """The rest of a refused command: its further literals are no commands."""
        literal = _LITERAL.search(line)
        if literal is not None and literal[2]:
            self._skip(int(literal[1]))
        else:
            self._dropping = False
            self._reset()

    def _skip(self, size: int) -> None:
        if size > MAX_SKIPPED_OCTETS:
            raise FramingLost("literal too large")
        self._skipped, self._dropping = size, True

    def _reset(self) -> None:
        self._command.clear()
        self._line_octets = self._literal_octets = 0

    def _take_literal(self) -> bool:
        """Move octets of a pending literal; whether it is complete."""
        if self._skipped:
            gone = min(self._skipped, len(self._buffer))
            del self._buffer[:gone]
            self._skipped -= gone
        elif self._wanted:
            self._command += self._buffer[: self._wanted]
            taken = min(self._wanted, len(self._buffer))
            del self._buffer[:taken]
            self._wanted -= taken
        return not (self._wanted or self._skipped)

    def _take_line(self) -> bytes | None:
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._buffer)
            if self._searched > MAX_LINE_OCTETS:
                raise FramingLost("line too long")
            return None
        if end > MAX_LINE_OCTETS:
            raise FramingLost("line too long")
        line = bytes(self._buffer[: end - 1 if self._buffer[end - 1 : end] == b"\r" else end])
        del self._buffer[: end + 1]
        self._searched = 0
        return line

    def _begin_literal(self, size: int, *, waits: bool) -> Event | None:
        is_append = _APPEND.match(self._command) is not None
        limit = self.max_append_octets if is_append else MAX_LITERALS_OCTETS
        together = limit + MAX_LITERALS_OCTETS if is_append else limit
        if size > limit or size + self._literal_octets > together:
            found = _TAG.match(self._command)
            tag = bytes(found[0]) if found else b"*"
            self._reset()
            if not waits:
                self._skip(size)
            return LiteralRefused(tag, is_append)
        self._literal_octets += size
        self._command += b"\r\n"
        self._wanted = size
        return ContinuationNeeded() if waits else None
