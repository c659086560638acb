"""The engine, and the one place where a database error becomes `Unavailable`."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any, Final

import asyncpg
from prometheus_client import Histogram
from sqlalchemy import CursorResult, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from mail_runtime.contracts.errors import Conflict, Refused, StoreError, Unavailable

SECONDS: Final = Histogram(
    "postroom_transaction_seconds",
    "Transactions that were committed, with the wait for a connection",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)

CONNECTIONS: Final = 16
CONNECT_TIMEOUT_S: Final = 5
STATEMENT_TIMEOUT_S: Final = 20

_PASSES: Final = "the database is busy or stopping; try again later"


def async_url(url: str) -> str:
    """The URL with SQLAlchemy's name of the driver."""
    scheme, _, rest = url.partition("://")
    return f"postgresql+asyncpg://{rest}" if scheme in {"postgres", "postgresql"} else url


class Database:
    """A pool of connections to Postgres; safe for concurrent use."""

    def __init__(
        self, url: str, *, statement_timeout_s: float = STATEMENT_TIMEOUT_S, connections: int = CONNECTIONS
    ) -> None:
        self.url = url
        self.engine: AsyncEngine = create_async_engine(
            async_url(url),
            pool_size=connections,
            max_overflow=0,
            pool_use_lifo=True,  # statements are planned for each connection: few of them have most of the work
            pool_timeout=CONNECT_TIMEOUT_S,
            connect_args={"timeout": CONNECT_TIMEOUT_S, "command_timeout": statement_timeout_s},
        )
        # SQLAlchemy leaves transactions to us: see `transaction`.
        self._unmanaged = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    async def fetch(self, sql: str, **values: Any) -> list[Row]:
        """Execute one statement that is a transaction by itself: see `fetch`, without the turns for BEGIN and COMMIT.

        Raises Unavailable, Conflict, Refused, StatementFailed.
        """
        start = time.perf_counter()
        try:
            async with self._connected() as connection:
                rows = await _fetch(_driver(connection), sql, values)
        except (DBAPIError, PoolTimeout, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise Unavailable("the database doesn't answer; try again later") from error
        SECONDS.observe(time.perf_counter() - start)
        return rows

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """One transaction, committed at the end of the block.

        It is begun and ended by asyncpg itself: through SQLAlchemy, which begins with the first statement that it
        executes, that cost twice as much CPU (0.42 ms, now 0.20, with one statement). Raises Unavailable: the
        database can't be reached or broke off; a commit may or may not have happened. Conflict: something of that
        name exists. Refused: a value can't be stored.
        """
        start = time.perf_counter()
        try:
            async with self._connected() as connection:
                driver = _driver(connection)
                try:
                    await driver.execute("BEGIN")
                    yield connection
                    if await driver.execute("COMMIT") != "COMMIT":
                        # A statement failed and the block went on: Postgres rolls back, and doesn't call it an error.
                        raise StatementFailed("a statement failed in the transaction: nothing was committed")
                except BaseException:
                    await _roll_back(driver)
                    raise
            SECONDS.observe(time.perf_counter() - start)
        except DBAPIError as error:
            if (known := _known(error)) is None:
                raise
            raise known from error
        except (PoolTimeout, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            # asyncpg's own errors come bare from connecting, BEGIN and COMMIT; SQLAlchemy wraps those of statements.
            raise Unavailable("the database doesn't answer; try again later") from error

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection]:
        """A connection of the pool. Those that ended while nobody used them are thrown away."""
        while True:
            async with self._unmanaged.connect() as connection:
                if not _driver(connection).is_closed():
                    yield connection
                    return
                await connection.invalidate()

    async def close(self) -> None:
        await self.engine.dispose()


def _known(error: DBAPIError) -> StoreError | None:
    """What the caller is told; None: a statement of ours is wrong."""
    known = _known_state(str(getattr(error.orig, "sqlstate", None) or ""))
    if known is None and (error.connection_invalidated or isinstance(error, (OperationalError, InterfaceError))):
        return Unavailable(_PASSES)
    return known


def _known_state(state: str) -> StoreError | None:
    """What the caller is told by SQLSTATE (PostgreSQL, appendix A)."""
    if state == "23505":
        return Conflict("it exists already")
    if state == "23503":
        return Conflict("something that it belongs to was removed meanwhile; look again")
    if state[:2] == "22":
        return Refused("a value can't be stored as text")
    # Broken off in mid-statement, stopping, deadlock, out of resources: all pass.
    return Unavailable(_PASSES) if state[:2] in {"08", "40", "53", "55", "57"} else None


# Statements are constants; parsing one for its names costs 0.1 ms.
_parsed: Final = lru_cache(maxsize=500)(text)


async def run(connection: AsyncConnection, sql: str, **values: Any) -> CursorResult[*tuple[Any, ...]]:
    """Execute one statement with named values."""
    return await connection.execute(_parsed(sql), values)


class Row(asyncpg.Record):  # type: ignore[misc]
    """A row of `fetch`: by position, by name, or as attributes."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


class StatementFailed(SQLAlchemyError):
    """A statement of ours is wrong, or a constraint forbids what it does."""


async def fetch(connection: AsyncConnection, sql: str, **values: Any) -> list[Row]:
    """Execute one hot statement with named values, by asyncpg itself on the same connection and transaction.

    Measured for batches of 16 messages: 10 statements cost 6.5 ms of CPU through SQLAlchemy's execution, and a third of
    that so. Raises Unavailable, Conflict, Refused, StatementFailed.
    """
    return await _fetch(_driver(connection), sql, values)


def _driver(connection: AsyncConnection) -> Any:
    """asyncpg's connection. The way by `get_raw_connection` is a switch of greenlets for each statement."""
    assert connection.sync_connection is not None
    return connection.sync_connection.connection.driver_connection


async def _roll_back(driver: Any) -> None:
    """End a transaction that failed or was cancelled. A connection where that isn't certain is closed."""
    if driver.is_closed():
        return
    try:
        await driver.execute("ROLLBACK")
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        driver.terminate()
    except BaseException:
        driver.terminate()
        raise


async def _fetch(driver: Any, sql: str, values: dict[str, Any]) -> list[Row]:
    statement, names = _positional(sql)
    try:
        rows: list[Row] = await driver.fetch(statement, *[values[name] for name in names], record_class=Row)
    except asyncpg.PostgresError as error:
        raise (_known_state(error.sqlstate or "") or StatementFailed(str(error))) from error
    return rows


@lru_cache(maxsize=500)
def _positional(sql: str) -> tuple[str, tuple[str, ...]]:
    """The statement with `$1` for the first name, and the names in that order."""
    names: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        return f"${names.setdefault(found[1], len(names) + 1)}"

    return _NAME.sub(number, sql), tuple(names)


_NAME: Final = re.compile(r"(?<![:\w]):([a-z_][a-z0-9_]*)\b")
