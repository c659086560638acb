"""How what is stored becomes a body again, or a range of one: sources upon sources.

object --ObjectSource--> stored octets --DecryptedSource--> compressed octets --ZstdSource--> body
"""

from __future__ import annotations

from typing import Protocol

from store_api.blobs.compression import FRAME_OCTETS, decompress, frame_offsets, frames_of, seek_table_length
from store_api.blobs.encryption import Decryption, decrypted_length
from store_api.blobs.faults import Damaged
from store_api.blobs.keyring import Keyring
from store_api.blobs.places import Place
from store_api.blobs.storage import Storage


class Source(Protocol):
    """Octets that can be read from any place. Blocks. Not for several threads at a time."""

    @property
    def length(self) -> int: ...

    def read(self, start: int, end: int) -> bytes:
        """The octets [start, end), 0 ≤ start ≤ end ≤ length. Raises Damaged, and what the storage raises."""


class ObjectSource:
    """Part of an object."""

    def __init__(self, storage: Storage, key: str, offset: int, length: int) -> None:
        self._storage, self._key, self._offset, self.length = storage, key, offset, length

    def read(self, start: int, end: int) -> bytes:
        octets = self._storage.read(self._key, self._offset + start, end - start)
        if len(octets) != end - start:
            raise Damaged(f"object {self._key} is shorter than it should be")
        return octets


class MemorySource:
    """Octets that were read together with others."""

    def __init__(self, octets: memoryview) -> None:
        self._octets, self.length = octets, len(octets)

    def read(self, start: int, end: int) -> bytes:
        return self._octets[start:end].tobytes()


class DecryptedSource:
    """What was encrypted with a data key."""

    def __init__(self, inner: Source, key: bytes) -> None:
        self._inner = inner
        self.length = decrypted_length(inner.length)
        self._decryption = Decryption(key, self.length)

    def read(self, start: int, end: int) -> bytes:
        if start == end and self.length:
            return b""
        return self._decryption.decrypt(self._inner.read(*self._decryption.encrypted_range(start, end)), start, end)


class ZstdSource:
    """A body that was compressed in frames; `length` octets of it."""

    def __init__(self, inner: Source, length: int) -> None:
        self._inner, self.length = inner, length
        self._offsets = [0, inner.length] if frames_of(length) == 1 else None

    def read(self, start: int, end: int) -> bytes:
        if start == end:
            return b""
        if self._offsets is None:
            table = self._inner.read(self._inner.length - seek_table_length(self.length), self._inner.length)
            self._offsets = frame_offsets(table, self.length)
        first, last = start // FRAME_OCTETS, frames_of(end)
        at = self._offsets[first]
        frames = memoryview(self._inner.read(at, self._offsets[last]))
        octets = b"".join(
            decompress(frames[self._offsets[number] - at : self._offsets[number + 1] - at])
            for number in range(first, last)
        )
        offset = first * FRAME_OCTETS
        if len(octets) < end - offset:
            raise Damaged("a compressed frame is shorter than it should be")
        return octets[start - offset : end - offset]


def open_body(stored: Source, place: Place, keyring: Keyring) -> Source:
    """The body over what is stored of it. Raises Damaged. Unavailable: the master key isn't here."""
    source = stored
    if place.data_key is not None:
        source = DecryptedSource(source, keyring.unwrap(place.data_key, place.key_id or ""))
    if place.encoding == "zstd":
        return ZstdSource(source, place.length)
    if place.encoding != "identity" or source.length != place.length:
        raise Damaged(f"blob {place.blob_id} has the encoding {place.encoding!r} and {source.length} octets")
    return source
