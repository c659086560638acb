"""A message on its way out, piece by piece: byte-stuffing (RFC 1939 §3) and the cut of TOP (§7), in constant memory."""

from __future__ import annotations

from typing import Final

from mail_proto.pop3.replies import TERMINATOR

_EMPTY_LINE: Final = frozenset({b"", b"\r"})


class Outgoing:
    """Feed it a message in pieces, write what it gives, then what `finish` gives. How it is cut changes nothing.

    Lines end with CRLF and with nothing else: a bare LF is an octet of its line, and stays as it is. But a dot behind
    it is doubled too: fetchmail, poplib and others take the LF for a line end, and a lone dot behind it for the end of
    the message; what follows would be taken for replies.

    `lines` None sends all; else the header, the empty line and so many lines of the body, counted by LF. A message
    without an empty line is all header. `is_done` once nothing that follows will be sent.
    """

    def __init__(self, lines: int | None = None) -> None:
        self._lines = lines
        self._at_line_start = True
        self._last = b""
        # Of TOP: lines of the body still to come, None within the header; the first two octets of the present line.
        self._body_lines_left: int | None = None
        self._line_head = b""
        self.is_done = False

    def feed(self, piece: bytes) -> bytes:
        """The octets to write for this piece of the message."""
        if self._lines is not None:
            piece = self._cut(piece)
        if not piece:
            return b""
        stuffed = piece.replace(b"\n.", b"\n..")
        if self._at_line_start and piece.startswith(b"."):
            stuffed = b"." + stuffed
        self._at_line_start = piece.endswith(b"\n")
        self._last = (self._last + piece[-2:])[-2:]
        return stuffed

    def finish(self) -> bytes:
        """The terminator; before it CRLF, where the message's last line has none."""
        return TERMINATOR if self._last in {b"", b"\r\n"} else b"\r\n" + TERMINATOR

    def _cut(self, piece: bytes) -> bytes:
        """As much of the piece as is wanted."""
        at = 0
        while not self.is_done:
            if self._body_lines_left == 0:
                self.is_done = True
                break
            end = piece.find(b"\n", at)
            if end < 0:
                self._line_head = (self._line_head + piece[at : at + 2])[:2]
                return piece
            is_empty = self._line_head + piece[at : min(end, at + 2)] in _EMPTY_LINE
            self._line_head = b""
            at = end + 1
            if self._body_lines_left is not None:
                self._body_lines_left -= 1
            elif is_empty:
                self._body_lines_left = self._lines
        return piece[:at]


def whole(octets: bytes, lines: int | None = None) -> bytes:
    """A message that is at hand, as it goes over the wire, with the terminator."""
    outgoing = Outgoing(lines)
    return outgoing.feed(octets) + outgoing.finish()
