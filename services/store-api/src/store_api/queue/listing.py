"""The queue as the REST API shows it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from store_api.db.engine import Database, run


async def list_deliveries(database: Database, state: str | None, before: UUID | None, limit: int) -> list[Any]:
    """Rows of deliveries, newest first, in `state` or any."""
    async with database.transaction() as connection:
        return list(
            await run(
                connection,
                "SELECT d.id, d.transmission_id, t.reverse_path, d.recipient, d.state, d.attempts, d.last_reply,"
                " d.last_status, d.last_remote, d.next_attempt_at, d.expires_at"
                " FROM delivery d JOIN transmission t ON t.id = d.transmission_id"
                " WHERE (CAST(:state AS text) IS NULL OR d.state = :state)"
                " AND (CAST(:before AS uuid) IS NULL OR d.id < :before)"
                " ORDER BY d.id DESC LIMIT :limit",
                state=state,
                before=before,
                limit=limit,
            )
        )
