"""How a body becomes what is stored: compressed when that saves enough, then encrypted when there are keys."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, Literal

from store_api.blobs import Octets
from store_api.blobs.compression import compress, share_of_samples
from store_api.blobs.encryption import encrypt
from store_api.blobs.keyring import DataKey

# Less isn't worth the decompression with each read.
MIN_SAVED_SHARE: Final = 0.1
# Frames of a large body by which that is judged.
SAMPLES: Final = 4
PIECE_OCTETS: Final = 1024 * 1024

Name = Literal["identity", "zstd"]


@dataclass(frozen=True, slots=True)
class Encoded:
    """What is stored of a body, and the checksum of the body itself."""

    octets: bytes
    encoding: Name
    sha256: bytes


@dataclass(frozen=True, slots=True)
class EncodedFile:
    """As `Encoded`, in a file at its start. It is closed by who got it, and then gone."""

    file: BinaryIO
    length: int
    encoding: Name
    sha256: bytes


def encode(octets: Octets, level: int, data_key: DataKey | None) -> Encoded:
    """Encode a small body in memory. `level` of zstd, 0: don't compress."""
    encoding: Name = "identity"
    stored = bytes(octets)
    digest = hashlib.sha256(stored).digest()
    if level:
        compressed = b"".join(compress(octets, level))
        if _saves_enough(len(compressed) / max(1, len(octets))):
            encoding, stored = "zstd", compressed
    if data_key is not None:
        stored = b"".join(encrypt([stored], data_key.key))
    return Encoded(stored, encoding, digest)


def encode_to_file(octets: Octets, level: int, data_key: DataKey | None, directory: str | None) -> EncodedFile:
    """Encode a large body into an unnamed temporary file, with little of it in memory."""
    encoding: Name = "identity"
    pieces: Iterable[bytes | memoryview] = _pieces(octets)
    if level and _saves_enough(share_of_samples(octets, level, SAMPLES)):
        encoding, pieces = "zstd", compress(octets, level)
    if data_key is not None:
        pieces = encrypt(pieces, data_key.key)
    file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 - returned open
    try:
        length = 0
        for piece in pieces:
            length += file.write(piece)
        file.seek(0)
        return EncodedFile(file, length, encoding, hashlib.sha256(octets).digest())
    except BaseException:
        file.close()
        raise


def _saves_enough(share: float) -> bool:
    return share <= 1 - MIN_SAVED_SHARE


def _pieces(octets: Octets) -> Iterator[memoryview]:
    with memoryview(octets) as whole:
        for at in range(0, len(whole), PIECE_OCTETS):
            with whole[at : at + PIECE_OCTETS] as piece:
                yield piece
