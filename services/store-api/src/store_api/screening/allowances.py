"""How much somebody may do in a time, counted for all replicas: a bucket that leaks evenly."""

from __future__ import annotations

from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.store.screening import Spend
from store_api.db.engine import Database, run

# Longer than any window that a setting allows.
KEPT_FOR_S: Final = 2 * 86_400.0

# What was used leaks away evenly over the window. Who would be over the limit uses nothing.
_COST: Final = "CAST(:cost AS float8)"
_ALLOWED: Final = "CAST(:allowed AS float8)"
_PASSED: Final = "CAST(extract(epoch FROM clock_timestamp() - a.at) AS float8) / CAST(:window_s AS float8)"
_LEFT: Final = f"greatest(0, a.used - {_ALLOWED} * {_PASSED})"
_SPEND: Final = f"""
INSERT INTO allowance AS a (name, used) VALUES (:name, {_COST})
ON CONFLICT (name) DO UPDATE SET used = {_LEFT} + {_COST}, at = clock_timestamp()
WHERE {_LEFT} + {_COST} <= {_ALLOWED}
RETURNING used
"""


async def spend(database: Database, wanted: Spend) -> bool:
    """Whether there was as much left; if not, nothing is counted. Raises Unavailable."""
    if wanted.cost > wanted.allowed:
        return False
    rows = await database.fetch(
        _SPEND,
        name=wanted.name,
        cost=float(wanted.cost),
        allowed=float(wanted.allowed),
        window_s=float(wanted.window_s),
    )
    return bool(rows)


async def forget_old(connection: AsyncConnection) -> None:
    """Remove buckets that have run dry."""
    sql = "DELETE FROM allowance WHERE at < now() - make_interval(secs => :kept_for_s)"
    await run(connection, sql, kept_for_s=KEPT_FOR_S)
