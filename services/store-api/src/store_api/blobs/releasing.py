"""Letting go of bodies: tombstones past the undelete window, transmissions long ended, blobs that nothing refers to.

Everything here is rows. Whether a blob goes is decided while its row is locked: a transaction that is about to refer to
it holds a key lock on the row (its foreign key takes it), so it is either seen or comes too late to find the blob.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from store_api.blobs.keys import first_id
from store_api.blobs.metrics import COLLECTED
from store_api.blobs.positions import move, position
from store_api.db.engine import Database, run

BATCH: Final = 500
# Blobs that are looked at in one step of the walk.
WALK_BATCH: Final = 1000
WALK_EVERY: Final = timedelta(days=1)
# Where a walk ends: blobs of messages that come in now aren't worth a look.
WALK_BEHIND: Final = timedelta(hours=1)
# A restore brings bodies first and what refers to them later.
REFERRED_TO_WITHIN: Final = timedelta(days=7)
# How long a transmission shows in the queue after its last delivery has ended.
ENDED_DAYS: Final = 30
# Without deliveries it is there for frontends that repeat it: they do so within minutes.
REPEATABLE_DAYS: Final = 2

_EXPIRE_TOMBSTONES: Final = """
WITH expired AS (
    SELECT account_id, mailbox_id, uid, blob_id FROM expunged
    WHERE blob_id IS NOT NULL AND expunged_at < now() - make_interval(secs => :window_s)
    ORDER BY expunged_at LIMIT :batch FOR UPDATE SKIP LOCKED
)
UPDATE expunged e SET blob_id = NULL FROM expired x
WHERE e.account_id = x.account_id AND e.mailbox_id = x.mailbox_id AND e.uid = x.uid
RETURNING x.blob_id
"""

_ENDED: Final = """
SELECT t.id, t.blob_id FROM transmission t WHERE t.id IN (
    SELECT d.transmission_id FROM delivery d
    WHERE d.ended_at < now() - make_interval(days => :days)
      AND NOT EXISTS (SELECT 1 FROM delivery other WHERE other.transmission_id = d.transmission_id
                      AND (other.ended_at IS NULL OR other.ended_at >= now() - make_interval(days => :days)))
    ORDER BY d.ended_at LIMIT :batch)
FOR UPDATE SKIP LOCKED
"""

_REPEATABLE: Final = """
SELECT t.id, t.blob_id, t.created_at, EXISTS (SELECT 1 FROM delivery d WHERE d.transmission_id = t.id) AS delivers
FROM transmission t
WHERE (t.created_at, t.id) > (CAST(:created_at AS timestamptz), CAST(:id AS uuid))
  AND t.created_at < now() - make_interval(days => :days)
ORDER BY t.created_at, t.id LIMIT :batch FOR UPDATE
"""

# Deliveries that code of the first release has ended: it doesn't say when.
_END_UNDATED: Final = """
UPDATE delivery SET ended_at = now()
WHERE transmission_id = ANY (CAST(:ids AS uuid[])) AND ended_at IS NULL AND state IN ('delivered', 'failed')
"""

_REMOVE: Final = (
    """DELETE FROM delivery_attempt
    WHERE delivery_id IN (SELECT id FROM delivery WHERE transmission_id = ANY (CAST(:ids AS uuid[])))""",
    "DELETE FROM delivery WHERE transmission_id = ANY (CAST(:ids AS uuid[]))",
    "DELETE FROM transmission WHERE id = ANY (CAST(:ids AS uuid[]))",
)

_UNREFERENCED: Final = """
NOT EXISTS (SELECT 1 FROM message m WHERE m.blob_id = b.id)
AND NOT EXISTS (SELECT 1 FROM expunged e WHERE e.blob_id = b.id)
AND NOT EXISTS (SELECT 1 FROM transmission t WHERE t.blob_id = b.id)
"""

_WALK: Final = f"""
SELECT b.id, (b.created_at < :created_before AND {_UNREFERENCED}) AS unreferenced
FROM (SELECT id, created_at FROM blob WHERE id > :after AND id < :before ORDER BY id LIMIT :batch) AS b ORDER BY b.id
"""

_LOCK: Final = "SELECT id FROM blob WHERE id = ANY (CAST(:ids AS uuid[])) ORDER BY id FOR UPDATE SKIP LOCKED"

# Objects that code of the first release has written: it deletes nothing, so what is there now is all there was.
_ADD_PACKS: Final = """
INSERT INTO pack (object_key, octets, live_octets)
SELECT object_key, sum(coalesce(stored_length, length)), sum(coalesce(stored_length, length)) FROM blob
WHERE object_key IN (SELECT object_key FROM blob WHERE id = ANY (CAST(:ids AS uuid[])))
  AND NOT EXISTS (SELECT 1 FROM pack p WHERE p.object_key = blob.object_key)
GROUP BY object_key ON CONFLICT DO NOTHING
"""

_DELETE: Final = f"""
DELETE FROM blob b WHERE b.id = ANY (CAST(:ids AS uuid[])) AND {_UNREFERENCED}
RETURNING b.object_key, coalesce(b.stored_length, b.length)
"""

_COUNT: Final = """
UPDATE pack SET live_octets = pack.live_octets - gone.octets
FROM (SELECT object_key, sum(octets) AS octets FROM unnest(CAST(:keys AS text[]), CAST(:octets AS bigint[]))
      AS t (object_key, octets) GROUP BY object_key) AS gone
WHERE pack.object_key = gone.object_key
"""

_SUPERSEDE: Final = """
UPDATE pack SET superseded_at = now()
WHERE object_key = ANY (CAST(:keys AS text[])) AND superseded_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM blob b WHERE b.object_key = pack.object_key)
"""


async def expire_tombstones(database: Database, window_s: float) -> int:
    """What was expunged longer ago can't be restored from now on. Returns how many there were in this batch."""
    async with database.transaction() as connection:
        expired = (await run(connection, _EXPIRE_TOMBSTONES, window_s=window_s, batch=BATCH)).scalars().all()
        await delete_unreferenced(connection, expired)
    COLLECTED.labels("tombstones").inc(len(expired))
    return len(expired)


async def remove_ended_transmissions(database: Database) -> int:
    """Transmissions whose deliveries have all ended ENDED_DAYS ago, with these. Returns how many in this batch."""
    async with database.transaction() as connection:
        ended = (await run(connection, _ENDED, days=ENDED_DAYS, batch=BATCH)).all()
        await _remove(connection, [row.id for row in ended], [row.blob_id for row in ended])
    return len(ended)


async def remove_repeatable_transmissions(database: Database) -> int:
    """Transmissions without deliveries, REPEATABLE_DAYS old. Returns how many were looked at in this batch."""
    async with database.transaction() as connection:
        at, _ = await position(connection, "transmissions")
        created_at, _, identifier = at.partition(" ")
        rows = (
            await run(
                connection,
                _REPEATABLE,
                created_at=datetime.fromisoformat(created_at) if at else datetime.fromtimestamp(0, UTC),
                id=UUID(identifier) if at else UUID(int=0),
                days=REPEATABLE_DAYS,
                batch=BATCH,
            )
        ).all()
        if not rows:
            return 0
        await run(connection, _END_UNDATED, ids=[row.id for row in rows if row.delivers])
        done = [row for row in rows if not row.delivers]
        await _remove(connection, [row.id for row in done], [row.blob_id for row in done])
        await move(connection, "transmissions", f"{rows[-1].created_at.isoformat()} {rows[-1].id}")
    return len(rows)


async def _remove(connection: AsyncConnection, ids: Sequence[UUID], blob_ids: Sequence[UUID]) -> None:
    if not ids:
        return
    for statement in _REMOVE:
        await run(connection, statement, ids=list(ids))
    await delete_unreferenced(connection, blob_ids)
    COLLECTED.labels("transmissions").inc(len(ids))


async def walk_blobs(database: Database) -> int:
    """Delete blobs that nothing refers to, whatever the reason; one walk over all of them in WALK_EVERY.

    Returns how many were looked at in this batch.
    """
    now = datetime.now(UTC)
    async with database.transaction() as connection:
        at, moved_at = await position(connection, "blobs")
        if not at and moved_at is not None and moved_at > now - WALK_EVERY:
            return 0
        rows = (
            await run(
                connection,
                _WALK,
                after=UUID(at) if at else UUID(int=0),
                before=first_id(now - WALK_BEHIND),
                created_before=now - REFERRED_TO_WITHIN,
                batch=WALK_BATCH,
            )
        ).all()
        await delete_unreferenced(connection, [row.id for row in rows if row.unreferenced])
        await move(connection, "blobs", str(rows[-1].id) if rows else "")
    return len(rows)


async def delete_unreferenced(connection: AsyncConnection, blob_ids: Sequence[UUID]) -> int:
    """Delete those that nothing refers to any more; their objects live less from now on. Returns how many."""
    if not blob_ids:
        return 0
    locked = (await run(connection, _LOCK, ids=list(set(blob_ids)))).scalars().all()
    await run(connection, _ADD_PACKS, ids=list(locked))
    deleted = (await run(connection, _DELETE, ids=list(locked))).all()
    if deleted:
        keys = [key for key, _ in deleted]
        await run(connection, _COUNT, keys=keys, octets=[octets for _, octets in deleted])
        await run(connection, _SUPERSEDE, keys=keys)
        COLLECTED.labels("blobs").inc(len(deleted))
    return len(deleted)
