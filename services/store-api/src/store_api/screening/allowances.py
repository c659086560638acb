"""How much somebody may do in a time, counted for all replicas: a bucket that leaks evenly."""

from __future__ import annotations

from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.store.screening import Spend
from store_api.db.engine import run

# Longer than any window that a setting allows.
KEPT_FOR_S: Final = 2 * 86_400.0

# What was used leaks away evenly over the window. Who would be over the limit uses nothing.
_LEFT: Final = "greatest(0, a.used - :allowed * extract(epoch FROM clock_timestamp() - a.at) / :window_s)"
_SPEND: Final = f"""
INSERT INTO allowance AS a (name, used) VALUES (:name, :cost)
ON CONFLICT (name) DO UPDATE SET used = {_LEFT} + :cost, at = clock_timestamp()
WHERE {_LEFT} + :cost <= :allowed
RETURNING used
"""


async def spend(connection: AsyncConnection, wanted: Spend) -> bool:
    """Whether there was as much left; if not, nothing is counted."""
    if wanted.cost > wanted.allowed:
        return False
    result = await run(
        connection,
        _SPEND,
        name=wanted.name,
        cost=float(wanted.cost),
        allowed=float(wanted.allowed),
        window_s=wanted.window_s,
    )
    return result.first() is not None


async def forget_old(connection: AsyncConnection) -> None:
    """Remove buckets that have run dry."""
    sql = "DELETE FROM allowance WHERE at < now() - make_interval(secs => :kept_for_s)"
    await run(connection, sql, kept_for_s=KEPT_FOR_S)
