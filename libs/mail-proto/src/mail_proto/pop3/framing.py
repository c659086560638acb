"""Lines out of octets: the framing of POP3 (RFC 1939 §3), with the limits of its extensions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mail_proto.pop3.errors import Garbage, LineTooLong

# RFC 2449 §4: a command line is at most 255 octets, including the CRLF.
MAX_LINE_OCTETS: Final = 255
# RFC 4422 leaves the size of SASL messages open; RFC 4954 §4 asks for 12288 octets, taken here as well.
MAX_SASL_OCTETS: Final = 12288
# A longer line without an end is no command that went wrong, but something else than POP3.
MAX_SKIPPED_OCTETS: Final = 65_536


class LineReader:
    """Takes octets in any pieces, gives lines. `limit_octets` counts the CRLF; it may change between lines."""

    def __init__(self) -> None:
        self.limit_octets = MAX_LINE_OCTETS
        self._buffer = bytearray()
        self._skipped = 0

    def feed(self, data: bytes) -> None:
        """Raises Garbage: a line is so long that the connection must be closed."""
        self._buffer += data
        if b"\r\n" not in self._buffer:
            self._skip()

    def lines(self) -> Iterator[bytes | LineTooLong]:
        """Each complete line without its CRLF, or that it was too long: then it was thrown away. Raises Garbage."""
        while (end := self._buffer.find(b"\r\n")) >= 0:
            if self._skipped + end > MAX_SKIPPED_OCTETS:
                raise Garbage("this is not POP3")
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 2]
            skipped, self._skipped = self._skipped, 0
            too_long = skipped + end + 2 > self.limit_octets
            yield LineTooLong(f"a line has at most {self.limit_octets} octets") if too_long else line
        self._skip()

    def _skip(self) -> None:
        """Keep no more of an unfinished line than its limit; the last octet may be half of its end."""
        if len(self._buffer) <= self.limit_octets:
            return
        drop = len(self._buffer) - 1
        if self._skipped + drop + (self._buffer[-1:] != b"\r") > MAX_SKIPPED_OCTETS:
            raise Garbage("this is not POP3")
        self._skipped += drop
        del self._buffer[:drop]

    def clear(self) -> None:
        """Forget what came and wasn't taken."""
        self._buffer.clear()
        self._skipped = 0
