"""Bodies on their way to the object storage."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from store_api.blobs import Octets
from store_api.blobs.storage import Blobs


@dataclass(frozen=True, slots=True)
class Body:
    """Octets to keep under an id that is new (`db.ids.uuid7`)."""

    blob_id: UUID
    octets: Octets


@dataclass(frozen=True, slots=True)
class WrittenBlob:
    """Where a body has been written, and what is needed to read it: the row to be inserted.

    `length` counts the octets of the body; `object_octets` those of the whole object that it lies in.
    """

    blob_id: UUID
    object_key: str
    object_offset: int
    object_octets: int
    length: int
    sha256: bytes


async def write(blobs: Blobs, bodies: Sequence[Body]) -> list[WrittenBlob]:
    """Write bodies, those that are small together; in the order given. Durable on return.

    The rows come after (`rows.insert_blobs`); objects that get none are swept. Raises Unavailable.
    """
    if not bodies:
        return []
    octets = b"".join(body.octets for body in bodies)
    key = await blobs.write_pack(octets)
    written, at = [], 0
    for body in bodies:
        length = len(body.octets)
        digest = hashlib.sha256(body.octets).digest()
        written.append(WrittenBlob(body.blob_id, key, at, len(octets), length, digest))
        at += length
    return written
