"""How far a walk of the collector has come: the next process goes on from there."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from store_api.db.engine import run

_GET: Final = "SELECT position, moved_at FROM collector_position WHERE walk = :walk"

_SET: Final = """
INSERT INTO collector_position (walk, position) VALUES (:walk, :position)
ON CONFLICT (walk) DO UPDATE SET position = excluded.position, moved_at = now()
"""


async def position(connection: AsyncConnection, walk: str) -> tuple[str, datetime | None]:
    """(where it is, since when); empty before the first step."""
    row = (await run(connection, _GET, walk=walk)).one_or_none()
    return ("", None) if row is None else (row.position, row.moved_at)


async def move(connection: AsyncConnection, walk: str, to: str) -> None:
    """In the transaction that did the step, or after what it did outside."""
    await run(connection, _SET, walk=walk, position=to)
