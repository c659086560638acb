"""The mail data after DATA's 354: where it ends, and its octets without transparency (RFC 5321 §4.1.1.4, §4.5.2).

Only CRLF "." CRLF ends the data. A dot between bare LFs or CRs is content like any other octet: servers that
take it for the end can be made to see a second, smuggled message. Nothing is normalised.
"""

from __future__ import annotations

import enum
from typing import Final

_END: Final = b"\r\n.\r\n"
_STUFFED: Final = b"\r\n."


class DataState(enum.Enum):
    """How far the data got, or why it was dropped."""

    READING = "reading"
    COMPLETE = "complete"


class DataDecoder:
    """Feed it octets until it is complete; then take the message, or learn that it was too large.

    Octets past the limit are thrown away while the end is looked for: RFC 5321 §4.5.3.1.7 wants the reply
    after the end, and the connection stays usable.
    """

    def __init__(self, max_octets: int) -> None:
        self._max_octets = max_octets
        # As if a line had just ended: the data may be only the dot, or begin with a stuffed one.
        self._raw = bytearray(b"\r\n")
        self._stuffed = self._taken = 0
        self._dropped = False
        self.state = DataState.READING
        self.rest = b""

    @property
    def held_octets(self) -> int:
        """How many octets it keeps in memory; those of the message too, once it was taken."""
        return len(self._raw) + self._taken

    @property
    def was_dropped(self) -> bool:
        return self._dropped

    def drop(self) -> None:
        """Keep nothing from here on: too large, or no room. The end is still looked for."""
        self._dropped = True
        del self._raw[: max(0, len(self._raw) - len(_END) + 1)]

    def feed(self, octets: bytes) -> None:
        """Take the next octets; `state` tells whether the end was among them, `rest` what followed it."""
        known = len(self._raw)
        self._raw += octets
        end = self._raw.find(_END, max(0, known - len(_END) + 1))
        if end >= 0:
            self.rest = bytes(self._raw[end + len(_END) :])
            del self._raw[end + 2 :]
            self.state = DataState.COMPLETE
        if not self._dropped:
            self._count_stuffed(known)
            # The two octets put in front don't count; stuffed dots aren't part of the message (RFC 1870 §5).
            slack = 0 if self.state is DataState.COMPLETE else len(_END)
            self._dropped = len(self._raw) - 2 - self._stuffed > self._max_octets + slack
        if self._dropped:
            self.drop()

    def _count_stuffed(self, known: int) -> None:
        if self.state is DataState.COMPLETE:
            # Anew: the dot of the end itself may have been counted, when it came in pieces.
            self._stuffed = self._raw.count(_STUFFED)
        else:
            self._stuffed += self._raw.count(_STUFFED, max(0, known - len(_STUFFED) + 1))

    def message(self) -> bytes:
        """The message, its lines ending as they were sent, dots unstuffed. Call once, complete and not dropped."""
        assert self.state is DataState.COMPLETE
        assert not self._dropped
        raw = self._raw.replace(_STUFFED, b"\r\n") if self._stuffed else self._raw
        message = bytes(memoryview(raw)[2:])
        self._raw, self._taken = bytearray(), len(message)
        return message
