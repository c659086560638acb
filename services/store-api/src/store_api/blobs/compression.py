"""zstd in frames (RFC 8878), so that ranges can be read.

    compressed = 1*frame [seek table]

Each frame holds FRAME_OCTETS of the body, the last one what is left. With more than one frame the seek table of the
"Zstandard Seekable Format" stands at the end, in a skippable frame: any zstd tool reads the whole.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from typing import Final

import zstandard

from store_api.blobs import Octets
from store_api.blobs.faults import Damaged

# Part of the format: another size is another encoding.
FRAME_OCTETS: Final = 256 * 1024
_SKIPPABLE: Final = struct.Struct("<II")
_ENTRY: Final = struct.Struct("<II")
_FOOTER: Final = struct.Struct("<IBI")
_SKIPPABLE_MAGIC: Final = 0x184D2A5E
_SEEKABLE_MAGIC: Final = 0x8F92EAB1

_local: Final = threading.local()  # a context is 1 MB, and for one thread at a time


def _compressor(level: int) -> zstandard.ZstdCompressor:
    kept: dict[int, zstandard.ZstdCompressor] = _local.__dict__.setdefault("compressors", {})
    if level not in kept:
        kept[level] = zstandard.ZstdCompressor(level=level)
    return kept[level]


def _decompressor() -> zstandard.ZstdDecompressor:
    kept: zstandard.ZstdDecompressor | None = getattr(_local, "decompressor", None)
    if kept is None:
        kept = _local.decompressor = zstandard.ZstdDecompressor()
    return kept


def compress(octets: Octets, level: int) -> Iterator[bytes]:
    """The frames of a body, and their seek table."""
    compressor = _compressor(level)
    sizes: list[tuple[int, int]] = []
    with memoryview(octets) as whole:
        for at in range(0, max(1, len(whole)), FRAME_OCTETS):
            with whole[at : at + FRAME_OCTETS] as piece:
                frame = compressor.compress(piece)
                sizes.append((len(frame), len(piece)))
            yield frame
    if len(sizes) > 1:
        yield _seek_table(sizes)


def share_of_samples(octets: Octets, level: int, samples: int) -> float:
    """What is left of frames drawn evenly from a body when they are compressed, of 1."""
    compressor = _compressor(level)
    before = after = 0
    with memoryview(octets) as whole:
        for number in range(samples):
            at = (len(whole) - FRAME_OCTETS) * number // max(1, samples - 1)
            with whole[max(0, at) : max(0, at) + FRAME_OCTETS] as piece:
                before += len(piece)
                after += len(compressor.compress(piece))
    return after / max(1, before)


def _seek_table(sizes: list[tuple[int, int]]) -> bytes:
    entries = b"".join(_ENTRY.pack(*size) for size in sizes)
    footer = _FOOTER.pack(len(sizes), 0, _SEEKABLE_MAGIC)
    return _SKIPPABLE.pack(_SKIPPABLE_MAGIC, len(entries) + len(footer)) + entries + footer


def frames_of(length: int) -> int:
    """How many frames a body of `length` octets has."""
    return max(1, -(-length // FRAME_OCTETS))


def seek_table_length(length: int) -> int:
    """Octets of the seek table of a body of `length` octets."""
    frames = frames_of(length)
    return 0 if frames == 1 else _SKIPPABLE.size + frames * _ENTRY.size + _FOOTER.size


def frame_offsets(table: bytes, length: int) -> list[int]:
    """Where each frame begins, and where the last one ends, from the seek table of a body of `length` octets.

    Raises Damaged: it isn't one.
    """
    frames = frames_of(length)
    if len(table) != seek_table_length(length) or _FOOTER.unpack(table[-9:]) != (frames, 0, _SEEKABLE_MAGIC):
        raise Damaged("the seek table of a compressed body is damaged")
    offsets = [0]
    for compressed, _ in _ENTRY.iter_unpack(table[_SKIPPABLE.size : -_FOOTER.size]):
        offsets.append(offsets[-1] + compressed)
    return offsets


def decompress(frame: bytes | memoryview) -> bytes:
    """The octets of one frame. Raises Damaged."""
    try:
        return _decompressor().decompress(frame, max_output_size=FRAME_OCTETS, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Damaged(f"a compressed frame is damaged: {error}") from error
