"""Where the octets of a blob are, and how they were encoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from store_api.db.engine import run

# Columns of `Place`, in its order, of a table `blob b`.
COLUMNS: Final = """
b.id, b.object_key, b.object_offset, b.length, b.sha256, b.stored_length, b.encoding, b.data_key, b.key_id
"""

_FIND: Final = f"SELECT {COLUMNS} FROM blob b WHERE b.id = ANY (CAST(:ids AS uuid[]))"


@dataclass(frozen=True, slots=True)
class Place:
    """One blob. `length` and `sha256` are those of the body itself.

    `stored_length` octets lie from `object_offset` on in the object; None: the row is of a time before encodings.
    `encoding` is identity or zstd (see `compression`); with a `data_key` it is encrypted on top (see `encryption`).
    """

    blob_id: UUID
    object_key: str
    object_offset: int
    length: int
    sha256: bytes
    stored_length: int | None = None
    encoding: str = "identity"
    data_key: bytes | None = None
    key_id: str | None = None

    @property
    def stored_octets(self) -> int:
        return self.length if self.stored_length is None else self.stored_length


async def find(connection: AsyncConnection, blob_ids: Sequence[UUID]) -> dict[UUID, Place]:
    """Those that there are. Whose they are, the caller knows."""
    return {row[0]: Place(*row) for row in await run(connection, _FIND, ids=list(blob_ids))}
