"""Framing of a MessagePack header and raw octets in one HTTP body, and of many blobs in one stream.

envelope = length:uint32-be header(MessagePack) octets
stream   = *( length:uint32-be octets )
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

_LENGTH: Final = struct.Struct(">I")


class FramingError(ValueError):
    """The octets are not a frame."""


def pack_envelope(header: bytes, octets: bytes) -> bytes:
    """One body of header and octets."""
    return b"".join((_LENGTH.pack(len(header)), header, octets))


def header_length(start: bytes | bytearray) -> int | None:
    """How long the header of an envelope is that begins so; None: the length isn't whole yet."""
    return None if len(start) < _LENGTH.size else int(_LENGTH.unpack_from(start)[0])


def unpack_envelope(body: bytes) -> tuple[bytes, bytes]:
    """(header, octets) of a body made by `pack_envelope`.

    Raises FramingError: the body ends too early.
    """
    if len(body) < 4 or len(body) < 4 + (size := _LENGTH.unpack_from(body)[0]):
        raise FramingError("the body ends before its header does")
    return body[4 : 4 + size], body[4 + size :]


def pack_length(length: int) -> bytes:
    """What stands before a blob of so many octets in a stream."""
    return _LENGTH.pack(length)


def pack_stream(blobs: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces of a stream of blobs, in order."""
    for blob in blobs:
        yield _LENGTH.pack(len(blob))
        yield blob


def unpack_stream(body: bytes) -> list[bytes]:
    """All blobs of a complete stream.

    Raises FramingError: the stream ends inside a blob.
    """
    blobs, at = [], 0
    while at < len(body):
        if at + 4 > len(body):
            raise FramingError("the stream ends inside a length")
        end = at + 4 + _LENGTH.unpack_from(body, at)[0]
        if end > len(body):
            raise FramingError("the stream ends inside a blob")
        blobs.append(body[at + 4 : end])
        at = end
    return blobs
