"""An enveloped message as it arrives (`contracts.framing`): the header in memory, the message in a spool."""

from __future__ import annotations

from mail_runtime.contracts.framing import FramingError, header_length
from store_api.api.spool import Spool
from store_api.blobs import Octets


class Envelope:
    """Feed it with `add`, then take what came with `ended`; `close` in any case. Raises Unavailable: no room."""

    def __init__(self, expected_octets: int, directory: str | None) -> None:
        self.length = 0
        self._head = bytearray()
        self._header: bytes | None = None
        self._message = Spool(expected_octets, directory)

    async def add(self, piece: bytes) -> None:
        self.length += len(piece)
        if self._header is None:
            self._head += piece
            size = header_length(self._head)
            if size is None or len(self._head) < 4 + size:
                return
            self._header = bytes(self._head[4 : 4 + size])
            piece = bytes(self._head[4 + size :])
            self._head.clear()
        await self._message.add(piece)

    def ended(self) -> tuple[bytes, Octets]:
        """(header, message). Raises FramingError: the body ended before its header did."""
        if self._header is None:
            raise FramingError("the body ends before its header does")
        return self._header, self._message.ended()

    def close(self) -> None:
        self._message.close()
