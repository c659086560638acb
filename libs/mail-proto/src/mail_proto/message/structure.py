"""MIME structure: one forward pass from octets to a tree of parts with offsets (RFC 2045, RFC 2046).

    multipart-body     = [preamble CRLF] dash-boundary transport-padding CRLF body-part
                         *( CRLF "--" boundary transport-padding CRLF body-part )
                         CRLF "--" boundary "--" transport-padding [CRLF epilogue]      RFC 2046 §5.1.1

How it works. A stack holds the parts that are open, `boundaries` those delimiters that would end one of them. A header
runs to its empty line, a body to the next delimiter of any open multipart; whichever comes first is found by searching
forward from where the last search ended, so that no octet is looked at twice. A delimiter of an outer multipart closes
the inner ones (a missing end boundary), also in the middle of a header. The line end before a delimiter belongs to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from mmap import mmap
from typing import Final

from mail_proto.message.headers import unfold
from mail_proto.message.parameters import PLAIN_TEXT, MediaType, media_type

# Ours: real mail stays below 20 levels and 1,000 parts; what is nested deeper counts as one opaque part.
MAX_DEPTH: Final = 100
MAX_PARTS: Final = 10_000
# RFC 2046 §5.1.1 allows 70; some senders write more.
MAX_BOUNDARY_OCTETS: Final = 1_000

# An mmap is counted in pieces of this size, so that no more of it is copied at once.
_PIECE_OCTETS: Final = 1_048_576

_DASHES: Final = re.compile(rb"\n--([^\n]{0,%d}+)" % (MAX_BOUNDARY_OCTETS + 80))
_HEADER_EVENT: Final = re.compile(rb"\n(?:\r?\n|(--))")
_CONTENT_TYPE: Final = re.compile(rb"\ncontent-type[ \t]*+:")
_FIELD_END: Final = re.compile(rb"\n(?![ \t])")
_EMBEDDED: Final = MediaType("message/rfc822")


Octets = bytes | mmap


@dataclass(frozen=True, slots=True)
class Part:
    """A message or a body part.

    The header is [header_start, body_start) with its empty line, the body is [body_start, body_end). `media_type` is
    `type/subtype` in lower case. Children: the parts of a multipart, or the one message in a message/rfc822.
    `lines`: the line ends in the body; None in summaries of earlier versions.
    """

    header_start: int
    body_start: int
    body_end: int
    media_type: str
    children: tuple[Part, ...] = ()
    lines: int | None = None

    @property
    def is_multipart(self) -> bool:
        return self.media_type.startswith("multipart/")

    @property
    def is_message(self) -> bool:
        """An embedded message; RFC 9051 §7.5.2 names these two."""
        return self.media_type in ("message/rfc822", "message/global")


@dataclass(slots=True)
class _Open:
    """A part that has begun. `shadowed`: the outer level that used the same boundary."""

    header_start: int
    default: MediaType
    media_type: str = "text/plain"
    body_start: int = 0
    lines_before: int = 0
    boundary: bytes | None = None
    shadowed: int | None = None
    children: list[Part] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Delimiter:
    """A boundary line at [start, end) of the multipart at `level` of the stack."""

    start: int
    end: int
    level: int
    closes: bool


def scan(octets: Octets) -> Part:
    """The structure of a message. Never raises. Of an mmap, which need not be in memory, pieces are copied."""
    return _Scanner(octets).run()


def walk(root: Part) -> Iterator[Part]:
    """Each part before those in it, in the order of the message."""
    pending = [root]
    while pending:
        part = pending.pop()
        yield part
        pending.extend(reversed(part.children))


class _Scanner:
    def __init__(self, octets: Octets) -> None:
        self._octets = octets
        self._counted_to = self._lines = 0
        self._stack = [_Open(0, PLAIN_TEXT)]
        self._boundaries: dict[bytes, int] = {}
        self._parts = 1

    def run(self) -> Part:
        while True:
            delimiter = self._header()
            if self._stack[-1].body_start < 0:
                continue  # an embedded message has begun: its header is next
            if delimiter is None:
                delimiter = self._body(self._stack[-1].body_start)
            while delimiter is not None and not self._begin_after(delimiter):
                delimiter = self._body(delimiter.end)
            if delimiter is None:
                return self._close(0, len(self._octets))

    def _header(self) -> _Delimiter | None:
        """Read the header of the innermost part; the delimiter, where one cuts it short."""
        part = self._stack[-1]
        part.body_start, delimiter = self._header_end(part.header_start)
        part.lines_before = self._lines_to(part.body_start)
        declared = self._declared(part)
        part.media_type = declared.name
        if delimiter is None:
            self._enter(part, declared)
        return delimiter

    def _header_end(self, start: int) -> tuple[int, _Delimiter | None]:
        octets = self._octets
        if start == 0 and octets[:2].startswith((b"\n", b"\r\n")):
            return octets.find(b"\n", 0) + 1, None  # an mmap searches from where it was read last
        # From the line end before: the header may be empty, or a delimiter may stand in its place.
        position = max(start - 1, 0)
        while (event := _HEADER_EVENT.search(octets, position)) is not None:
            if event[1] is None:
                return event.end(), None
            delimiter = self._delimiter(event.start() + 1)
            if delimiter is not None:
                return delimiter.start, delimiter
            position = event.end()
        return len(octets), None

    def _declared(self, part: _Open) -> MediaType:
        header = self._octets[part.header_start : part.body_start]
        found = _CONTENT_TYPE.search(b"\n" + header.lower())
        if found is None:
            return part.default
        start = found.end() - 1
        end = _FIELD_END.search(header, start)
        return media_type(unfold(header[start : end.start() if end else len(header)]))

    def _enter(self, part: _Open, declared: MediaType) -> None:
        """Open what the part contains: its boundary counts from now on, or an embedded message begins."""
        if len(self._stack) >= MAX_DEPTH:
            return
        if declared.name.startswith("multipart/"):
            boundary = (declared.parameter(b"boundary") or b"").rstrip(b" \t\r")
            if 0 < len(boundary) <= MAX_BOUNDARY_OCTETS:
                part.boundary = boundary
                part.shadowed = self._boundaries.get(boundary)
                self._boundaries[boundary] = len(self._stack) - 1
        elif declared.name in ("message/rfc822", "message/global"):
            self._begin(part.body_start, PLAIN_TEXT)

    def _begin(self, start: int, default: MediaType) -> bool:
        if self._parts >= MAX_PARTS:
            self._boundaries.clear()  # the part that is open now takes the rest
            return False
        self._parts += 1
        self._stack.append(_Open(start, default, body_start=-1))
        return True

    def _body(self, position: int) -> _Delimiter | None:
        """The next delimiter from `position` on, which is at the start of a line or at a line end."""
        if not self._boundaries:
            return None
        boundaries = self._boundaries
        for found in _DASHES.finditer(self._octets, max(position - 1, 0)):
            line = found[1].rstrip(b" \t\r")
            if line in boundaries or line[:-2] in boundaries:
                delimiter = self._delimiter(found.start() + 1)
                if delimiter is not None:
                    return delimiter
        return None

    def _delimiter(self, start: int) -> _Delimiter | None:
        if not self._boundaries:
            return None
        octets = self._octets
        limit = start + MAX_BOUNDARY_OCTETS + 80
        newline = octets.find(b"\n", start, limit)
        if newline < 0 and limit < len(octets):
            return None  # longer than any delimiter
        end = newline + 1 if newline >= 0 else len(octets)
        line = octets[start + 2 : end].rstrip(b" \t\r\n")
        level = self._boundaries.get(line)
        if level is not None:
            return _Delimiter(start, end, level, closes=False)
        if line.endswith(b"--") and (level := self._boundaries.get(line[:-2])) is not None:
            return _Delimiter(start, end, level, closes=True)
        return None

    def _begin_after(self, delimiter: _Delimiter) -> bool:
        """Close what the delimiter ends; True if a new part begins behind it."""
        end = delimiter.start - 1
        if self._octets[max(end - 1, 0) : end] == b"\r":
            end -= 1
        if len(self._stack) > delimiter.level + 1:
            self._close(delimiter.level + 1, end)
        multipart = self._stack[delimiter.level]
        if delimiter.closes:
            self._forget(multipart)
            return False
        digest = multipart.media_type == "multipart/digest"  # RFC 2046 §5.1.5
        return self._begin(delimiter.end, _EMBEDDED if digest else PLAIN_TEXT)

    def _close(self, level: int, end: int) -> Part:
        """End the open parts from the innermost to `level`."""
        while True:
            part = self._stack.pop()
            self._forget(part)
            end = max(end, part.body_start)
            lines = self._lines_to(end) - part.lines_before
            closed = Part(part.header_start, part.body_start, end, part.media_type, tuple(part.children), lines)
            if len(self._stack) > 0:
                self._stack[-1].children.append(closed)
            if len(self._stack) == level:
                return closed

    def _lines_to(self, offset: int) -> int:
        """Line ends before an offset. Offsets only grow, from one call to the next, so that each octet is seen once."""
        while self._counted_to < offset:
            piece = min(offset, self._counted_to + _PIECE_OCTETS)
            self._lines += self._octets[self._counted_to : piece].count(b"\n")
            self._counted_to = piece
        return self._lines

    def _forget(self, part: _Open) -> None:
        if part.boundary is None:
            return
        if part.shadowed is None:
            self._boundaries.pop(part.boundary, None)
        else:
            self._boundaries[part.boundary] = part.shadowed
        part.boundary = None
