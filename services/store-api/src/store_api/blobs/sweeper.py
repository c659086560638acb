"""Objects that never got rows: their process was killed, or its transaction failed.

Objects are looked at once, when they are as old as the grace: much longer than anyone can take from writing an object
to committing its rows. The walk begins at the time when the database was made: what lay in the bucket before isn't
this database's to judge, so that a new database beside an old bucket deletes nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from store_api.blobs.blobs import Blobs
from store_api.blobs.keys import first_key, made_at
from store_api.blobs.metrics import COLLECTED
from store_api.blobs.positions import move, position
from store_api.db.engine import run

BATCH: Final = 1000

_ORPHANS: Final = """
SELECT key FROM unnest(CAST(:keys AS text[])) AS t (key)
WHERE NOT EXISTS (SELECT 1 FROM blob b WHERE b.object_key = t.key)
  AND NOT EXISTS (SELECT 1 FROM pack p WHERE p.object_key = t.key)
"""


async def sweep_orphans(blobs: Blobs, grace_s: float) -> int:
    """Delete orphans among the next objects. Returns how many were looked at. What isn't ours by its name stays."""
    async with blobs.database.transaction() as connection:
        after, _ = await position(connection, "objects")
    before = first_key(datetime.now(UTC) - timedelta(seconds=grace_s))
    keys = [key for key in await blobs.run(blobs.storage.keys, after, BATCH) if key < before]
    if not keys:
        return 0
    async with blobs.database.transaction() as connection:
        orphans = [key for key in (await run(connection, _ORPHANS, keys=keys)).scalars() if made_at(key) is not None]
    for key in orphans:
        await blobs.run(blobs.storage.delete, key)
    async with blobs.database.transaction() as connection:
        await move(connection, "objects", keys[-1])
    COLLECTED.labels("orphans").inc(len(orphans))
    return len(keys)
