"""What is kept for a time only."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from store_api import sweeping
from store_api.db.engine import Database, run

_NAMES = "SELECT network FROM {} WHERE network IN ('old.test', 'new.test') ORDER BY network"


async def test_only_what_is_old_goes(database: Database, account: Any) -> None:
    keys = [uuid4().hex for _ in range(2)]
    async with database.transaction() as connection:
        for network, key, ago in (("old.test", keys[0], "31 days"), ("new.test", keys[1], "1 second")):
            past = f"now() - interval '{ago}'"
            await run(
                connection,
                f"INSERT INTO login_failure (account, network, failures, last_at) VALUES (:a, :network, 1, {past})",
                a=account.address,
                network=network,
            )
            await run(
                connection,
                f"INSERT INTO login_network (account_id, network, last_at) VALUES (:id, :network, {past})",
                id=account.id,
                network=network,
            )
            await run(
                connection,
                "INSERT INTO idempotency_key (actor, key, id, request_hash, held_until, created_at)"
                f" VALUES ('test', :key, :id, '', now(), {past})",
                key=key,
                id=uuid4(),
            )
    await sweeping.sweep(database)
    async with database.transaction() as connection:
        for table in ("login_failure", "login_network"):
            assert (await run(connection, _NAMES.format(table))).scalars().all() == ["new.test"]
        kept = await run(connection, "SELECT key FROM idempotency_key WHERE actor = 'test'")
        assert kept.scalars().all() == [keys[1]]
