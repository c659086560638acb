"""An enveloped message as it arrives (`contracts.framing`): a large one goes to a file, which is then mapped."""

from __future__ import annotations

import asyncio
import mmap
import tempfile
from typing import BinaryIO, Final

from mail_runtime.contracts.framing import FramingError, header_length
from store_api.blobs import Octets

# Larger messages are spooled.
SPOOLED_OCTETS: Final = 1024 * 1024
# So much is gathered for one write.
GATHERED_OCTETS: Final = 256 * 1024


class Envelope:
    """Feed it with `add`, then take what came with `ended`; `close` in any case."""

    def __init__(self, expected_octets: int, directory: str | None) -> None:
        self.length = 0
        self._head = bytearray()
        self._header: bytes | None = None
        self._pieces: list[bytes] = []
        self._gathered = 0
        self._file: BinaryIO | None = None
        if expected_octets > SPOOLED_OCTETS:
            self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 - closed by `close`

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
        self._pieces.append(piece)
        self._gathered += len(piece)
        if self._file is not None and self._gathered >= GATHERED_OCTETS:
            await asyncio.to_thread(self._file.write, self._taken())

    def _taken(self) -> bytes:
        octets = b"".join(self._pieces)
        self._pieces.clear()
        self._gathered = 0
        return octets

    def ended(self) -> tuple[bytes, Octets]:
        """(header, message). Raises FramingError: the body ended before its header did."""
        if self._header is None:
            raise FramingError("the body ends before its header does")
        octets = self._taken()
        if self._file is None:
            return self._header, octets
        self._file.write(octets)
        self._file.flush()
        if self._file.tell() == 0:
            return self._header, b""  # nothing can't be mapped
        return self._header, mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)

    def close(self) -> None:
        """The file is gone with its last mapping."""
        if self._file is not None:
            self._file.close()
