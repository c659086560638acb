"""How much somebody may do in a time, counted for all replicas: a bucket that leaks evenly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.store.screening import Spend
from store_api.db.engine import Database, run

# Longer than any window that a setting allows.
KEPT_FOR_S: Final = 2 * 86_400.0

# What was used leaks away evenly over the window. Who would be over the limit uses nothing. Locked in order of names.
_LEFT: Final = """
greatest(0, a.used - w.allowed * CAST(extract(epoch FROM clock_timestamp() - a.at) AS float8) / w.window_s)"""
_SPEND: Final = f"""
WITH wanted AS MATERIALIZED (
    SELECT * FROM unnest(CAST(:names AS text[]), CAST(:costs AS float8[]), CAST(:alloweds AS float8[]),
                         CAST(:windows_s AS float8[])) AS w (name, cost, allowed, window_s)
)
INSERT INTO allowance AS a (name, used) SELECT w.name, w.cost FROM wanted w ORDER BY w.name
ON CONFLICT (name) DO UPDATE
    SET used = (SELECT {_LEFT} + w.cost FROM wanted w WHERE w.name = a.name), at = clock_timestamp()
    WHERE (SELECT {_LEFT} + w.cost <= w.allowed FROM wanted w WHERE w.name = a.name)
RETURNING a.name
"""


async def spend(database: Database, wanted: Sequence[Spend]) -> list[bool]:
    """Whether there was as much left for each, in order; if not, nothing is counted. Raises Unavailable."""
    answers = [False] * len(wanted)
    left = [n for n, one in enumerate(wanted) if one.cost <= one.allowed]
    while left:
        # A statement counts once for a name; who asks for it again comes after.
        now = {wanted[n].name: n for n in reversed(left)}
        spent = await _spend(database, [wanted[n] for n in now.values()])
        for name, n in now.items():
            answers[n] = name in spent
        left = [n for n in left if now[wanted[n].name] != n]
    return answers


async def _spend(database: Database, wanted: Sequence[Spend]) -> set[str]:
    rows = await database.fetch(
        _SPEND,
        names=[one.name for one in wanted],
        costs=[float(one.cost) for one in wanted],
        alloweds=[float(one.allowed) for one in wanted],
        windows_s=[float(one.window_s) for one in wanted],
    )
    return {row.name for row in rows}


async def forget_old(connection: AsyncConnection) -> None:
    """Remove buckets that have run dry."""
    sql = "DELETE FROM allowance WHERE at < now() - make_interval(secs => :kept_for_s)"
    await run(connection, sql, kept_for_s=KEPT_FOR_S)
