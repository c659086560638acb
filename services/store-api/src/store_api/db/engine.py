"""The engine, and the one place where a database error becomes `Unavailable`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import CursorResult, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from mail_runtime.contracts.errors import Unavailable

CONNECTIONS: Final = 16
CONNECT_TIMEOUT_S: Final = 5
STATEMENT_TIMEOUT_S: Final = 20


def async_url(url: str) -> str:
    """The URL with SQLAlchemy's name of the driver."""
    scheme, _, rest = url.partition("://")
    return f"postgresql+asyncpg://{rest}" if scheme in {"postgres", "postgresql"} else url


class Database:
    """A pool of connections to Postgres; safe for concurrent use."""

    def __init__(self, url: str) -> None:
        self.engine: AsyncEngine = create_async_engine(
            async_url(url),
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_timeout=CONNECT_TIMEOUT_S,
            connect_args={"timeout": CONNECT_TIMEOUT_S, "command_timeout": STATEMENT_TIMEOUT_S},
        )

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """One transaction, committed at the end of the block.

        Raises Unavailable: the database can't be reached or broke off; a commit may or may not have happened.
        """
        try:
            async with self.engine.begin() as connection:
                yield connection
        except (OperationalError, InterfaceError, PoolTimeout, OSError, TimeoutError) as error:
            raise Unavailable("the database doesn't answer; try again later") from error
        except DBAPIError as error:
            # Broken off in mid-statement, stopping, deadlock: all pass. A statement that is wrong doesn't.
            if error.connection_invalidated or _passes(error):
                raise Unavailable("the database is busy or stopping; try again later") from error
            raise

    async def close(self) -> None:
        await self.engine.dispose()


def _passes(error: DBAPIError) -> bool:
    """Whether repeating can help: SQLSTATE classes 08, 40, 53, 55, 57 (PostgreSQL, appendix A)."""
    return str(getattr(error.orig, "sqlstate", None) or "")[:2] in {"08", "40", "53", "55", "57"}


async def run(connection: AsyncConnection, sql: str, **values: Any) -> CursorResult[Any]:
    """Execute one statement with named values."""
    return await connection.execute(text(sql), values)
