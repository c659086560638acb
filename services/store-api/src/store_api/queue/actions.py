"""What an administrator does to the queue: try now, hold, release, cancel.

One statement however many deliveries it concerns. A delivery that a worker is sending at this moment (a lease that
runs) is left alone: what happens to it is the worker's to report.
"""

from __future__ import annotations

from typing import Final, Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from store_api.db.engine import run
from store_api.queue.listing import Selection

Action = Literal["retry", "hold", "release", "cancel"]

_FREE: Final = "(d.lease IS NULL OR d.lease_until <= now())"
_NOW: Final = "next_attempt_at = now(), publish_after = now(), lease = NULL, lease_until = NULL"

# Action → (which deliveries it can concern, what it sets).
_EFFECTS: Final[dict[Action, tuple[str, str]]] = {
    "retry": ("d.state = 'queued'", _NOW),
    "hold": ("d.state = 'queued'", "state = 'held', lease = NULL, lease_until = NULL"),
    "release": ("d.state = 'held'", f"state = 'queued', {_NOW}"),
    "cancel": (
        "d.state IN ('queued', 'held')",
        "state = 'cancelled', ended_at = now(), lease = NULL, lease_until = NULL",
    ),
}


async def act(connection: AsyncConnection, action: Action, selection: Selection) -> int:
    """Returns how many deliveries it concerned. Rows are locked in the order of ids, as claims do."""
    possible, effect = _EFFECTS[action]
    where, values = selection.where()
    changed = await run(
        connection,
        f"""
        WITH chosen AS MATERIALIZED (
            SELECT d.id FROM delivery d JOIN transmission t ON t.id = d.transmission_id
            WHERE {possible} AND {_FREE} AND {where} ORDER BY d.id FOR UPDATE OF d
        )
        UPDATE delivery SET {effect} FROM chosen WHERE delivery.id = chosen.id
        """,
        **values,
    )
    return changed.rowcount
