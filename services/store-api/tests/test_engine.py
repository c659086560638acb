"""What is told of errors of the database."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import Conflict, Refused, Unavailable
from store_api.db.engine import Database, StatementFailed, fetch, run
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


async def backend_of(connection: AsyncConnection) -> int:
    [row] = await fetch(connection, "SELECT pg_backend_pid() AS pid")
    return int(row.pid)


async def make_domain(connection: AsyncConnection, name: str) -> None:
    await run(connection, "INSERT INTO domain (id, name) VALUES (:id, :name)", id=uuid7(), name=name)


async def has_domain(database: Database, name: str) -> bool:
    return bool(await database.fetch("SELECT 1 AS one FROM domain WHERE name = :name", name=name))


async def test_a_transaction_commits_at_the_end_of_its_block_and_not_before(database: Database) -> None:
    name = f"{uuid7().hex}.test"
    async with database.transaction() as connection:
        await make_domain(connection, name)
        assert not await has_domain(database, name)
    assert await has_domain(database, name)


async def test_a_block_that_fails_leaves_nothing_behind(database: Database) -> None:
    name = f"{uuid7().hex}.test"

    async def fail() -> None:
        async with database.transaction() as connection:
            await make_domain(connection, name)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert not await has_domain(database, name)


@pytest.mark.parametrize("execute", [run, fetch])
async def test_what_postgres_rolled_back_is_not_taken_for_committed(database: Database, execute: object) -> None:
    """After a failed statement it answers COMMIT with ROLLBACK, and no error."""
    name = f"{uuid7().hex}.test"

    async def go_on_after_an_error() -> None:
        async with database.transaction() as connection:
            await make_domain(connection, name)
            with suppress(DBAPIError, StatementFailed):
                await execute(connection, "SELECT no_such_column FROM domain")  # type: ignore[operator]

    with pytest.raises(StatementFailed, match="nothing was committed"):
        await go_on_after_an_error()
    assert not await has_domain(database, name)


async def test_a_block_that_is_cancelled_leaves_nothing_behind_and_its_connection_is_fit(database: Database) -> None:
    """The one connection of this database is asked again at once."""
    alone = Database(database.url, connections=1)
    name = f"{uuid7().hex}.test"
    waits = asyncio.Event()

    async def work() -> None:
        async with alone.transaction() as connection:
            await make_domain(connection, name)
            waits.set()
            await fetch(connection, "SELECT pg_sleep(3600)")

    task = asyncio.create_task(work())
    await waits.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with alone.transaction() as connection:
        await fetch(connection, "SELECT 1")
    assert not await has_domain(alone, name)
    await alone.close()


@pytest.mark.parametrize("execute", [run, fetch])
async def test_a_transaction_finds_a_connection_although_the_last_one_ended_while_it_lay_idle(
    database: Database, execute: object
) -> None:
    alone = Database(database.url, connections=1)
    async with alone.transaction() as connection:
        first = await backend_of(connection)
    async with alone.engine.connect() as connection:
        (await connection.get_raw_connection()).driver_connection.terminate()  # type: ignore[union-attr]
    name = f"{uuid7().hex}.test"
    async with alone.transaction() as connection:
        await execute(connection, "SELECT 1")  # type: ignore[operator]
        assert await backend_of(connection) != first
        await make_domain(connection, name)
        assert not await has_domain(database, name)
    assert await has_domain(database, name)
    await alone.close()


@pytest.mark.parametrize("execute", [run, fetch, None])
async def test_a_connection_that_breaks_off_makes_the_call_repeatable(database: Database, execute: object) -> None:
    """Before another statement of the block, or before its commit."""
    alone = Database(database.url, connections=1)
    name = f"{uuid7().hex}.test"

    async def work() -> None:
        async with alone.transaction() as connection:
            await make_domain(connection, name)
            pid = await backend_of(connection)
            await database.fetch("SELECT pg_terminate_backend(:pid, 30000)", pid=pid)
            if execute is not None:
                await execute(connection, "SELECT 1")  # type: ignore[operator]

    with pytest.raises(Unavailable):
        await work()
    assert not await has_domain(alone, name)
    await alone.close()
