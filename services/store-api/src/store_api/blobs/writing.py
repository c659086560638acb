"""Bodies on their way to the object storage."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from store_api.blobs import Octets
from store_api.blobs.blobs import Blobs
from store_api.blobs.encoding import encode, encode_to_file
from store_api.blobs.keyring import DataKey
from store_api.blobs.keys import new_key
from store_api.blobs.places import Place

# Smaller bodies share an object, larger ones have one each: decision 5.
PACKED_OCTETS: Final = 256 * 1024
# Of bodies in one object; a batch with more becomes several.
PACK_OCTETS: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Body:
    """Octets to keep under an id that is new (`db.ids.uuid7`)."""

    blob_id: UUID
    octets: Octets


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenBlob(Place):
    """Where a body has been written: the row to be inserted. `object_octets`: of the whole object it lies in."""

    object_octets: int


async def write(blobs: Blobs, bodies: Sequence[Body]) -> list[WrittenBlob]:
    """Write bodies, those that are small together; in the order given. Durable on return.

    The rows come after (`rows.insert_blobs`); objects that get none are swept. Raises Unavailable.
    """
    # All of them end before the first error is told: their octets are the caller's.
    done = await asyncio.gather(
        *(
            blobs.run(_write_alone, blobs, group[0])
            if len(group) == 1 and len(group[0].octets) >= PACKED_OCTETS
            else blobs.run(_write_pack, blobs, group)
            for group in _grouped(bodies)
        ),
        return_exceptions=True,
    )
    written: dict[UUID, WrittenBlob] = {}
    for result in done:
        if isinstance(result, BaseException):
            raise result
        written.update((blob.blob_id, blob) for blob in result)
    return [written[body.blob_id] for body in bodies]


def _grouped(bodies: Sequence[Body]) -> Iterator[list[Body]]:
    """What goes into one object each."""
    pack: list[Body] = []
    octets = 0
    for body in bodies:
        if len(body.octets) >= PACKED_OCTETS:
            yield [body]
            continue
        pack.append(body)
        octets += len(body.octets)
        if octets >= PACK_OCTETS:
            yield pack
            pack, octets = [], 0
    if pack:
        yield pack


def _write_pack(blobs: Blobs, bodies: Sequence[Body]) -> list[WrittenBlob]:
    keys = [blobs.keyring.new_data_key() for _ in bodies]
    encoded = [encode(body.octets, blobs.policy.zstd_level, key) for body, key in zip(bodies, keys, strict=True)]
    octets = b"".join(each.octets for each in encoded)
    object_key = new_key()
    blobs.storage.write(object_key, io.BytesIO(octets), len(octets))
    written, at = [], 0
    for body, key, each in zip(bodies, keys, encoded, strict=True):
        written.append(
            WrittenBlob(
                body.blob_id,
                object_key,
                at,
                len(body.octets),
                each.sha256,
                len(each.octets),
                each.encoding,
                *_kept(key),
                object_octets=len(octets),
            )
        )
        at += len(each.octets)
    return written


def _write_alone(blobs: Blobs, body: Body) -> list[WrittenBlob]:
    key = blobs.keyring.new_data_key()
    encoded = encode_to_file(body.octets, blobs.policy.zstd_level, key, blobs.policy.spool)
    object_key = new_key()
    with encoded.file:
        blobs.storage.write(object_key, encoded.file, encoded.length)
    return [
        WrittenBlob(
            body.blob_id,
            object_key,
            0,
            len(body.octets),
            encoded.sha256,
            encoded.length,
            encoded.encoding,
            *_kept(key),
            object_octets=encoded.length,
        )
    ]


def _kept(key: DataKey | None) -> tuple[bytes | None, str | None]:
    return (None, None) if key is None else (key.wrapped, key.key_id)
