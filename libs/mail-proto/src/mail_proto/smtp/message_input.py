"""Octets of a message while they come: behind DATA up to CRLF.CRLF (RFC 5321 §4.1.1.4), or in chunks (RFC 3030 §2).

Both go on to the end of what was announced when there is no room for it: the connection stays usable.
"""

from __future__ import annotations

from mail_proto.smtp.data import DataDecoder, DataState
from mail_proto.smtp.errors import MessageTooLarge, SmtpFault
from mail_proto.smtp.lines import Lines


def _too_large(max_octets: int) -> MessageTooLarge:
    return MessageTooLarge(f"messages may have {max_octets} octets")


class DataInput:
    """Behind 354."""

    def __init__(self, max_octets: int) -> None:
        self._max_octets = max_octets
        self._decoder = DataDecoder(max_octets)
        self._fault: SmtpFault | None = None

    @property
    def held_octets(self) -> int:
        return self._decoder.held_octets

    def drop(self, fault: SmtpFault) -> None:
        """Keep nothing of it; `message` will raise the fault."""
        self._fault = self._fault or fault
        self._decoder.drop()

    def take(self, lines: Lines) -> bool:
        """Take what came; True: the end was in it, and what follows is left."""
        octets = lines.take_all()
        if octets:
            self._decoder.feed(octets)
        if self._decoder.state is not DataState.COMPLETE:
            return False
        lines.put_back(self._decoder.rest)
        return True

    def message(self) -> bytes:
        """Raises SmtpFault: it was dropped."""
        if self._fault is not None:
            raise self._fault
        if self._decoder.was_dropped:
            raise _too_large(self._max_octets)
        return self._decoder.message()


class ChunkInput:
    """Behind BDAT, over all chunks of a message. `begun_in` is the state to go back to where it came too early."""

    def __init__(self, max_octets: int) -> None:
        self._max_octets = max_octets
        self._octets = bytearray()
        self._left = self._taken = 0
        self.fault: SmtpFault | None = None
        self.octets, self.begun_in, self.is_last = 0, "", False

    @property
    def held_octets(self) -> int:
        return len(self._octets) + self._taken

    def drop(self, fault: SmtpFault) -> None:
        """Keep nothing of it, of later chunks neither; `message` will raise the fault."""
        self.fault = self.fault or fault
        self._octets.clear()

    def begin(self, size: int, state: str, *, is_last: bool) -> None:
        """A chunk of that many octets follows."""
        self._left = self.octets = size
        self.begun_in, self.is_last = state, is_last
        if len(self._octets) + size > self._max_octets:
            self.drop(_too_large(self._max_octets))

    def take(self, lines: Lines) -> bool:
        """Take what came of it; True: it is whole."""
        taken = lines.take(self._left)
        self._left -= len(taken)
        if self.fault is None:
            self._octets += taken
        return self._left == 0

    def message(self) -> bytes:
        """Raises SmtpFault: it was dropped."""
        if self.fault is not None:
            raise self.fault
        message = bytes(self._octets)
        self._octets, self._taken = bytearray(), len(message)
        return message
