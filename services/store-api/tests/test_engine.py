"""What is told of errors of the database."""

from __future__ import annotations

import pytest

from mail_runtime.contracts.errors import Conflict, Refused
from store_api.db.engine import Database, fetch, run
from store_api.db.ids import uuid7

ALIAS = "INSERT INTO alias (id, domain_id, address) VALUES (:id, :domain_id, :address)"


@pytest.mark.parametrize("execute", [run, fetch])
async def test_what_was_removed_meanwhile_is_a_conflict(database: Database, execute: object) -> None:
    """As when an undelete and the collector meet at the end of the window."""
    with pytest.raises(Conflict, match="removed meanwhile"):
        async with database.transaction() as connection:
            await execute(connection, ALIAS, id=uuid7(), domain_id=uuid7(), address="x@nowhere.test")  # type: ignore[operator]


@pytest.mark.parametrize("execute", [run, fetch])
async def test_text_that_cannot_be_kept_is_refused(database: Database, execute: object) -> None:
    with pytest.raises(Refused):
        async with database.transaction() as connection:
            await execute(connection, ALIAS, id=uuid7(), domain_id=uuid7(), address="nul\x00")  # type: ignore[operator]


async def test_a_connection_that_ended_while_it_lay_idle_is_replaced(database: Database) -> None:
    async def backend() -> int:
        [row] = await database.fetch("SELECT pg_backend_pid() AS pid")
        return int(row.pid)

    first = await backend()
    assert await backend() == first
    async with database.engine.connect() as connection:
        (await connection.get_raw_connection()).driver_connection.terminate()  # type: ignore[union-attr]
    assert await backend() != first
