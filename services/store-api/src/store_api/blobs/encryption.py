"""Encryption of a body in chunks, so that ranges can be read: AES-256-GCM (NIST SP 800-38D).

    encrypted = *( chunk tag )          chunk: CHUNK_OCTETS, the last one what is left (at least one chunk, maybe empty)
    nonce     = counter:uint88-be final:uint8

The data key is the body's own, so counters never repeat under it. The final flag in the last nonce tells a body that
was cut off from a whole one, the counter keeps chunks in their places (the STREAM construction of Hoang, Reyhanitabar,
Rogaway and Vizár, "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", 2015).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from store_api.blobs.faults import Damaged

# Part of the format: another size is another encoding.
CHUNK_OCTETS: Final = 64 * 1024
TAG_OCTETS: Final = 16


def encrypted_length(length: int) -> int:
    """Octets that `length` octets become."""
    return length + TAG_OCTETS * _chunks(length)


def decrypted_length(length: int) -> int:
    """The inverse of `encrypted_length`. Raises Damaged: nothing becomes so long."""
    chunks = -(-length // (CHUNK_OCTETS + TAG_OCTETS))
    decrypted = length - TAG_OCTETS * chunks
    if chunks == 0 or decrypted < 0:
        raise Damaged(f"{length} octets can't be an encrypted body")
    return decrypted


def _chunks(length: int) -> int:
    return max(1, -(-length // CHUNK_OCTETS))


def encrypt(pieces: Iterable[bytes | memoryview], key: bytes) -> Iterator[bytes]:
    """The encrypted chunks of a body, which comes in pieces of any size."""
    cipher = AESGCM(key)
    number = 0
    held = bytearray()
    for piece in pieces:
        held += piece
        while len(held) > CHUNK_OCTETS:  # the last chunk is held back: it is the final one
            yield cipher.encrypt(_nonce(number, final=False), memoryview(held)[:CHUNK_OCTETS].tobytes(), None)
            del held[:CHUNK_OCTETS]
            number += 1
    yield cipher.encrypt(_nonce(number, final=True), bytes(held), None)


class Decryption:
    """Decrypts ranges of one body, of `length` octets before encryption."""

    def __init__(self, key: bytes, length: int) -> None:
        self._cipher, self._length = AESGCM(key), length

    def encrypted_range(self, start: int, end: int) -> tuple[int, int]:
        """Which encrypted octets the octets [start, end) need: whole chunks. At least one: an empty body has one."""
        first, last = start // CHUNK_OCTETS, _chunks(min(end, self._length))
        step = CHUNK_OCTETS + TAG_OCTETS
        return first * step, min(last * step, encrypted_length(self._length))

    def decrypt(self, encrypted: bytes, start: int, end: int) -> bytes:
        """The octets [start, end) from those that `encrypted_range` names.

        Raises Damaged: they aren't what was encrypted there under this key.
        """
        first = start // CHUNK_OCTETS
        step = CHUNK_OCTETS + TAG_OCTETS
        final = _chunks(self._length) - 1
        whole = memoryview(encrypted)
        try:
            octets = b"".join(
                self._cipher.decrypt(_nonce(number, final=number == final), whole[at : at + step], None)
                for number, at in enumerate(range(0, len(encrypted), step), first)
            )
        except InvalidTag as error:
            raise Damaged("an encrypted chunk is not authentic") from error
        offset = first * CHUNK_OCTETS
        return octets[start - offset : end - offset]


def _nonce(number: int, *, final: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\1" if final else b"\0")
