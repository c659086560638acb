"""What an administrator does to the queue: try now, hold, release, cancel.

One statement for up to 5,000 deliveries. A delivery that a worker is sending at this moment (a lease that
runs) is left alone: what happens to it is the worker's to report.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from store_api.db.engine import Database, run
from store_api.queue.listing import Selection

Action = Literal["retry", "hold", "release", "cancel"]

# Rows of one statement: a quarter of a second, many times that on a busy machine, where no statement may take 20 s.
BATCH: Final = 5_000

_FREE: Final = "(d.lease IS NULL OR d.lease_until <= now())"
_FREED: Final = "lease = NULL, lease_until = NULL, in_flight = false"
_NOW: Final = f"next_attempt_at = now(), publish_after = now(), {_FREED}"

# Action → (which deliveries it can concern, what it sets).
_EFFECTS: Final[dict[Action, tuple[str, str]]] = {
    "retry": ("d.state = 'queued'", _NOW),
    "hold": ("d.state = 'queued'", f"state = 'held', {_FREED}"),
    # What was held for long isn't given up before it is tried.
    "release": (
        "d.state = 'held'",
        f"state = 'queued', expires_at = greatest(expires_at, now() + interval '4 hours'), {_NOW}",
    ),
    "cancel": (
        "d.state IN ('queued', 'held')",
        f"state = 'cancelled', ended_at = now(), {_FREED}",
    ),
}


async def act(
    database: Database,
    action: Action,
    selection: Selection,
    note: Callable[[AsyncConnection, int], Awaitable[None]],
) -> int:
    """Returns how many deliveries it concerned. `note` writes down how many, in the transaction that does it.
    Trying now and releasing wake domains that rest (`queue.lanes`).

    100,000 of them take seconds, so they come in statements of `BATCH`, each its own transaction. Raises Unavailable:
    a part may be done; repeating does the rest.
    """
    total, after = 0, UUID(int=0)
    while True:
        async with database.transaction() as connection:
            changed, last = await _act_after(connection, action, selection, after)
            if changed:
                await note(connection, changed)
        total += changed
        if last is None:
            return total
        after = last


async def _act_after(
    connection: AsyncConnection, action: Action, selection: Selection, after: UUID
) -> tuple[int, UUID | None]:
    """(how many were changed, the last of them or None: there are no more). Rows are locked in the order of ids,
    as claims do.
    """
    possible, effect = _EFFECTS[action]
    where, values = selection.where()
    row = (
        await run(
            connection,
            f"""
            WITH chosen AS MATERIALIZED (
                SELECT d.id FROM delivery d {selection.join()}
                WHERE {possible} AND {_FREE} AND {where} AND d.id > :after ORDER BY d.id LIMIT :batch FOR UPDATE OF d
            ), changed AS (
                UPDATE delivery SET {effect} FROM chosen WHERE delivery.id = chosen.id
                RETURNING delivery.id, delivery.domain
            ), woken AS (
                DELETE FROM down_domain WHERE :wakes AND name IN (SELECT domain FROM changed)
            )
            SELECT count(*) AS changed, (SELECT id FROM chosen ORDER BY id DESC LIMIT 1) AS last FROM changed
            """,
            **values,
            after=after,
            batch=BATCH,
            wakes=action in {"retry", "release"},
        )
    ).one()
    return row.changed, row.last if row.changed == BATCH else None
