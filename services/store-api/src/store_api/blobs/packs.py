"""Objects that hold nothing, or little: rewritten when less than half of one lives, deleted after a grace.

Safe beside readers: a rewritten object stays for the grace, and who looks at the row finds the new one. Safe against
a kill between any two steps: what was written without its rows is swept, what has rows is complete.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from store_api.blobs.blobs import Blobs
from store_api.blobs.decoding import ObjectSource
from store_api.blobs.faults import Damaged, ObjectMissing
from store_api.blobs.keys import new_key
from store_api.blobs.metrics import COLLECTED
from store_api.blobs.places import COLUMNS, Place
from store_api.blobs.reading import grouped, verify_together
from store_api.blobs.writing import PACK_OCTETS
from store_api.db.engine import run

log = structlog.get_logger()

BATCH: Final = 50

# The oldest first; together they make one new object.
_POOR: Final = """
SELECT object_key, live_octets FROM pack
WHERE live_octets * 2 < octets AND superseded_at IS NULL AND object_key <> ALL (CAST(:but AS text[]))
ORDER BY created_at LIMIT :batch
"""

_LIVE: Final = f"""
SELECT {COLUMNS} FROM blob b WHERE b.object_key = ANY (CAST(:keys AS text[])) ORDER BY b.object_key, b.object_offset
"""

# In one order, as `releasing` does it; rows of blobs come before those of packs.
_LOCK: Final = """
SELECT id FROM blob WHERE id = ANY (CAST(:ids AS uuid[])) AND object_key = ANY (CAST(:old AS text[]))
ORDER BY id FOR NO KEY UPDATE
"""

_MOVE: Final = """
UPDATE blob SET object_key = :new, object_offset = moved.object_offset, stored_length = moved.stored_length
FROM unnest(CAST(:ids AS uuid[]), CAST(:offsets AS bigint[]), CAST(:stored AS bigint[]))
     AS moved (id, object_offset, stored_length)
WHERE blob.id = moved.id AND blob.object_key = ANY (CAST(:old AS text[]))
RETURNING moved.stored_length
"""

_SUPERSEDE: Final = """
UPDATE pack SET live_octets = 0, superseded_at = now() WHERE object_key = ANY (CAST(:old AS text[]))
"""

_ADD: Final = """
INSERT INTO pack (object_key, octets, live_octets, superseded_at)
VALUES (:new, :octets, :live, CASE WHEN :is_empty THEN now() END)
"""

_DEAD: Final = """
SELECT object_key FROM pack
WHERE superseded_at < now() - make_interval(secs => :grace_s)
  AND NOT EXISTS (SELECT 1 FROM blob b WHERE b.object_key = pack.object_key)
ORDER BY superseded_at LIMIT :batch
"""


@dataclass(frozen=True, slots=True)
class _NewPack:
    """What lives of some objects, in a new one."""

    key: str
    octets: bytes
    places: Sequence[Place]
    offsets: Sequence[int]


async def rewrite_poor_packs(blobs: Blobs, damaged: set[str]) -> int:
    """Rewrite some packs of which less than half lives. Returns how many.

    One that can't be read as it was stored is added to `damaged` and left alone.
    """
    async with blobs.database.transaction() as connection:
        rows = (await run(connection, _POOR, but=list(damaged), batch=BATCH)).all()
    chosen: list[str] = []
    octets = 0
    for row in rows:
        if not chosen or octets + row.live_octets <= PACK_OCTETS:
            chosen.append(row.object_key)
            octets += row.live_octets
    if not chosen:
        return 0
    async with blobs.database.transaction() as connection:
        places = [Place(*row) for row in await run(connection, _LIVE, keys=chosen)]
    async with blobs.sending.take(octets):
        pack = await blobs.run(_read_and_write, blobs, places, damaged)
    old = [key for key in chosen if key not in damaged]
    if old:
        async with blobs.database.transaction() as connection:
            await _move(connection, old, pack)
        COLLECTED.labels("packs").inc(len(old))
    return len(chosen)


def _read_and_write(blobs: Blobs, places: Sequence[Place], damaged: set[str]) -> _NewPack:
    """Copy as it is stored, after checking that it is what was stored."""
    kept: list[Place] = []
    pieces: list[bytes] = []
    for group in grouped(places):
        key = group[0].object_key
        try:
            start = group[0].object_offset
            end = group[-1].object_offset + group[-1].stored_octets
            stored = ObjectSource(blobs.storage, key, start, end - start).read(0, end - start)
            verify_together(memoryview(stored), group, blobs.keyring)
        except (Damaged, ObjectMissing) as error:
            log.error("pack_damaged", object_key=key, error=str(error))
            damaged.add(key)
            continue
        for place in group:
            kept.append(place)
            pieces.append(stored[place.object_offset - start :][: place.stored_octets])
    whole = [(place, piece) for place, piece in zip(kept, pieces, strict=True) if place.object_key not in damaged]
    octets = b"".join(piece for _, piece in whole)
    offsets, at = [], 0
    for _, piece in whole:
        offsets.append(at)
        at += len(piece)
    new = _NewPack(new_key(), octets, [place for place, _ in whole], offsets)
    blobs.storage.write(new.key, io.BytesIO(octets), len(octets))
    return new


async def _move(connection: AsyncConnection, old: Collection[str], pack: _NewPack) -> None:
    """Let the rows say where the octets are now; those of blobs that were deleted meanwhile are dead at once."""
    ids: list[UUID] = [place.blob_id for place in pack.places]
    await run(connection, _LOCK, ids=ids, old=list(old))
    moved = (
        await run(
            connection,
            _MOVE,
            new=pack.key,
            old=list(old),
            ids=ids,
            offsets=list(pack.offsets),
            stored=[place.stored_octets for place in pack.places],
        )
    ).scalars()
    live = list(moved)
    await run(connection, _SUPERSEDE, old=list(old))
    await run(connection, _ADD, new=pack.key, octets=len(pack.octets), live=sum(live), is_empty=not live)


async def delete_dead_objects(blobs: Blobs, grace_s: float) -> int:
    """Delete objects that nothing has needed for the grace. Returns how many."""
    async with blobs.database.transaction() as connection:
        keys = (await run(connection, _DEAD, grace_s=grace_s, batch=BATCH)).scalars().all()
    for key in keys:
        await blobs.run(blobs.storage.delete, key)
    if keys:
        async with blobs.database.transaction() as connection:
            await run(connection, "DELETE FROM pack WHERE object_key = ANY (CAST(:keys AS text[]))", keys=list(keys))
        COLLECTED.labels("objects").inc(len(keys))
    return len(keys)
