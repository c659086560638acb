"""The audit log as administrators read it."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from store_api.db.engine import run

_LIST: Final = """
SELECT u.id, u.at, u.actor, u.action, u.object, d.name AS domain, CAST(u.detail AS text) AS detail
FROM audit u LEFT JOIN domain d ON d.id = u.domain_id
WHERE (CAST(:only AS uuid) IS NULL OR u.domain_id = :only)
  AND (CAST(:actor AS text) IS NULL OR u.actor = :actor)
  AND (CAST(:action AS text) IS NULL OR u.action = :action)
  AND (CAST(:object AS text) IS NULL OR u.object = :object)
  AND (CAST(:before AS uuid) IS NULL OR u.id < :before)
ORDER BY u.id DESC LIMIT :limit
"""


async def list_audit(
    connection: AsyncConnection,
    only: UUID | None,
    actor: str | None,
    action: str | None,
    object: str | None,
    before: UUID | None,
    limit: int,
) -> list[Any]:
    """Rows (id, at, actor, action, object, domain, detail as JSON), newest first; of one domain where given."""
    values = {"only": only, "actor": actor, "action": action, "object": object, "before": before}
    return list(await run(connection, _LIST, **values, limit=limit))
