"""How mail for one domain of others is tried, where that differs from the settings (RFC 5321 §4.5.4.1).

Pauses and what 5xx means count from the next attempt on; lifetime and notice of delay for what is queued from now on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import NotFound
from store_api.db.engine import run

_COLUMNS: Final = "name, retry_first_s, retry_longest_s, lifetime_s, delay_notice_s, defer_permanent, created_at"

_PUT: Final = f"""
INSERT INTO remote_domain (name, retry_first_s, retry_longest_s, lifetime_s, delay_notice_s, defer_permanent)
VALUES (:name, :retry_first_s, :retry_longest_s, :lifetime_s, :delay_notice_s, :defer_permanent)
ON CONFLICT (name) DO UPDATE SET
    retry_first_s = excluded.retry_first_s, retry_longest_s = excluded.retry_longest_s,
    lifetime_s = excluded.lifetime_s, delay_notice_s = excluded.delay_notice_s,
    defer_permanent = excluded.defer_permanent
RETURNING {_COLUMNS}, xmax = 0 AS is_new
"""


async def put_remote_domain(connection: AsyncConnection, name: str, settings: Mapping[str, Any]) -> Any:
    """Set all of a domain's settings (None: as everywhere); the row, with `is_new`. `name` is in lower case."""
    return (await run(connection, _PUT, name=name, **settings)).one()


async def list_remote_domains(connection: AsyncConnection, after: str, limit: int) -> list[Any]:
    """Rows by name, after `after`."""
    sql = f"SELECT {_COLUMNS} FROM remote_domain WHERE name > :after ORDER BY name LIMIT :limit"
    return list(await run(connection, sql, after=after, limit=limit))


async def read_remote_domain(connection: AsyncConnection, name: str, *, for_update: bool = False) -> Any:
    """One row. Raises NotFound."""
    locking = " FOR UPDATE" if for_update else ""
    sql = f"SELECT {_COLUMNS} FROM remote_domain WHERE name = :name{locking}"
    row = (await run(connection, sql, name=name.lower())).one_or_none()
    if row is None:
        raise NotFound(f"{name} is tried as every domain is")
    return row


async def delete_remote_domain(connection: AsyncConnection, name: str) -> None:
    """It is tried as every domain is. Nothing happens where that is so."""
    await run(connection, "DELETE FROM remote_domain WHERE name = :name", name=name)
