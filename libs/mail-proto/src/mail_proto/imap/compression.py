"""COMPRESS=DEFLATE (RFC 4978): raw DEFLATE in both directions, in bounded pieces."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

# What one piece of input may become before it has been dealt with: however much a bomb promises, no more is in memory.
PIECE_OCTETS: Final = 65_536
# What ends the output of Z_SYNC_FLUSH: an empty block (RFC 4978 §3, RFC 1979 §2.1).
FLUSH: Final = b"\x00\x00\xff\xff"
# 8 KiB of window and little else: a compressed session takes some 64 KB more than one in clear, not 300.
_WINDOW_BITS: Final = -13
_MEMORY_LEVEL: Final = 6
# Ours is the CPU: level 1 takes typical responses to 25–40 % (RFC 4978 §4).
_LEVEL: Final = 1


class CompressionLost(Exception):
    """What comes in is no DEFLATE: nothing that follows can be understood."""


class Compression:
    """Of one connection, from the octet behind the OK to COMPRESS on."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL)
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._waiting = b""

    def compress(self, octets: bytes | bytearray) -> bytes:
        """All of it, so that the peer can read to the end."""
        return self._deflate.compress(octets) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def pieces(self, octets: bytes) -> Iterator[bytes]:
        """What the peer sent, no more than PIECE_OCTETS at a time; take a piece when the one before is dealt with.

        Raises CompressionLost.
        """
        self._waiting = octets
        while self._waiting:
            # No further than a flush: behind it there may be octets in clear (RFC 8437 §4.1).
            head, flush, self._waiting = self._waiting.partition(FLUSH)
            yield from self._inflated(head + flush)

    @property
    def in_clear(self) -> bytes:
        """What was received behind the piece taken last, when the peer has ended its compression with it."""
        return self._inflate.unused_data + self._waiting

    def _inflated(self, octets: bytes) -> Iterator[bytes]:
        while True:
            try:
                piece = self._inflate.decompress(octets, PIECE_OCTETS)
            except zlib.error as error:
                raise CompressionLost("this is no DEFLATE") from error
            if piece:
                yield piece
            octets = self._inflate.unconsumed_tail
            if self._inflate.eof:
                raise CompressionLost("the compressed stream has ended")
            if not octets and len(piece) < PIECE_OCTETS:
                return
