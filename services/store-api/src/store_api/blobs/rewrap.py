"""Rotation of master keys: `python -m store_api.blobs.rewrap` wraps all data keys with the first of POSTROOM_BLOB_KEY.

Bodies aren't touched. It can be interrupted and repeated, beside running stores that know both keys.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final
from uuid import UUID

from mail_runtime.contracts.errors import Unavailable
from mail_runtime.settings import settings_or_exit
from store_api.blobs.keyring import Keyring
from store_api.db.engine import Database, run
from store_api.settings import Settings

BATCH: Final = 500

# What has data keys: bodies, and the private keys of DKIM.
TABLES: Final = ("blob", "dkim_key")

_OLD: Final = """
SELECT id, data_key, key_id FROM {table}
WHERE key_id IS NOT NULL AND key_id <> :current AND id > :after ORDER BY id LIMIT :batch FOR NO KEY UPDATE
"""

_WRAP: Final = """
UPDATE {table} SET data_key = renewed.data_key, key_id = :current
FROM unnest(CAST(:ids AS uuid[]), CAST(:keys AS bytea[])) AS renewed (id, data_key) WHERE {table}.id = renewed.id
"""


async def rewrap(database: Database, keyring: Keyring) -> int:
    """Wrap all data keys with the current master key. Returns how many were not.

    Raises Unavailable: the database is away, or a key is needed that the ring doesn't have; what was done stays.
    """
    return sum([await _rewrap(database, keyring, table) for table in TABLES])


async def _rewrap(database: Database, keyring: Keyring, table: str) -> int:
    count, after = 0, UUID(int=0)
    old, wrap = _OLD.format(table=table), _WRAP.format(table=table)
    while True:
        async with database.transaction() as connection:
            rows = (await run(connection, old, current=keyring.current_id, after=after, batch=BATCH)).all()
            if not rows:
                return count
            renewed = [keyring.rewrap(row.data_key, row.key_id).wrapped for row in rows]
            await run(connection, wrap, current=keyring.current_id, ids=[row.id for row in rows], keys=renewed)
        count, after = count + len(rows), rows[-1].id


async def _main(settings: Settings) -> str:
    keyring = Keyring.parse(settings.blob_key)
    if keyring.current_id is None:
        sys.exit("settings: POSTROOM_BLOB_KEY is not set: the first of its keys is the one to wrap with")
    database = Database(settings.database_url)
    try:
        return f"{await rewrap(database, keyring)} data keys wrapped with {keyring.current_id!r}"
    except Unavailable as error:
        sys.exit(f"rewrap: {error}")
    finally:
        await database.close()


if __name__ == "__main__":
    print(asyncio.run(_main(settings_or_exit(Settings))))  # noqa: T201 - a command
