"""Octets of a client cut into lines, with a limit that holds before a line has ended."""

from __future__ import annotations

from mail_proto.smtp.commands import MAX_AUTH_OCTETS
from mail_proto.smtp.errors import LineTooLong, SmtpFault, SyntaxFault


class Lines:
    """What came and wasn't taken yet."""

    def __init__(self, max_octets: int = MAX_AUTH_OCTETS) -> None:
        self._max_octets = max_octets
        self._octets = bytearray()
        self._scanned = 0
        self._is_skipping = False

    def feed(self, octets: bytes) -> None:
        self._octets += octets

    def clear(self) -> None:
        """Forget what came."""
        self._octets.clear()
        self._scanned, self._is_skipping = 0, False

    def next(self) -> bytes | SmtpFault | None:
        """The next line without its CRLF, or what is wrong with it; None: it isn't whole yet.

        A line too long is skipped in constant memory up to its end. A bare LF ends a line that is wrong: whoever sends
        such gets an answer, and nothing else of it (RFC 5321 §2.3.8).
        """
        end = self._octets.find(b"\n", self._scanned)
        if end < 0:
            if len(self._octets) > self._max_octets:
                self._is_skipping = True
                self._octets.clear()
            self._scanned = len(self._octets)
            return None
        line = bytes(self._octets[:end])
        del self._octets[: end + 1]
        self._scanned = 0
        was_skipping, self._is_skipping = self._is_skipping, False
        if was_skipping or len(line) > self._max_octets:
            return LineTooLong("line too long")
        if not line.endswith(b"\r"):
            return SyntaxFault("lines end with CRLF")
        return line[:-1]

    def take(self, octets: int) -> bytes:
        """That many octets of what came, or fewer, whatever they are."""
        taken = bytes(self._octets[:octets])
        del self._octets[:octets]
        self._scanned = 0
        return taken

    def take_all(self) -> bytes:
        taken = bytes(self._octets)
        self._octets.clear()
        self._scanned = 0
        return taken

    def put_back(self, octets: bytes) -> None:
        """What was taken too much; only after `take_all`."""
        self._octets += octets
