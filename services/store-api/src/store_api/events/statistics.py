"""How many events, and octets in them, a domain had on a day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from store_api.db.engine import run

# What belongs to no domain is counted for this one.
NO_DOMAIN: Final = UUID(int=0)

_LIST: Final = """
SELECT s.domain_id, d.name AS domain, s.day, s.type, s.events, s.octets
FROM statistic s LEFT JOIN domain d ON d.id = s.domain_id
WHERE (CAST(:only AS uuid) IS NULL OR s.domain_id = :only)
  AND (CAST(:since AS date) IS NULL OR s.day >= :since) AND (CAST(:until AS date) IS NULL OR s.day <= :until)
  AND (CAST(:type AS text) IS NULL OR s.type = :type)
  AND (CAST(:day AS date) IS NULL OR (s.day, s.domain_id, s.type) > (:day, CAST(:domain_id AS uuid), :after_type))
ORDER BY s.day, s.domain_id, s.type LIMIT :limit
"""


@dataclass(frozen=True, slots=True)
class Period:
    """Days, both included; None: open."""

    since: date | None = None
    until: date | None = None


async def list_statistics(
    connection: AsyncConnection,
    only: UUID | None,
    period: Period,
    event_type: str | None,
    after: tuple[date, UUID, str] | None,
    limit: int,
) -> list[Any]:
    """Rows (domain_id, domain, day, type, events, octets) by day; of one domain where given."""
    day, domain_id, after_type = after or (None, None, None)
    return list(
        await run(
            connection,
            _LIST,
            only=only,
            since=period.since,
            until=period.until,
            type=event_type,
            day=day,
            domain_id=domain_id,
            after_type=after_type,
            limit=limit,
        )
    )
