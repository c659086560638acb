"""The collector: in the background, one replica at a time, in small batches, it removes what is no longer needed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from mail_runtime.contracts.errors import Unavailable
from store_api.blobs.blobs import Blobs
from store_api.blobs.packs import delete_dead_objects, rewrite_poor_packs
from store_api.blobs.releasing import (
    expire_tombstones,
    remove_ended_transmissions,
    remove_repeatable_transmissions,
    walk_blobs,
)
from store_api.blobs.sweeper import sweep_orphans
from store_api.db.engine import Database, run

log = structlog.get_logger()

EVERY_S: Final = 600.0
# Between batches: deliveries come first.
PAUSE_S: Final = 0.05
# Any constant; the replica that holds this advisory lock collects.
_LOCK: Final = 0x706F7375


@dataclass(frozen=True, slots=True)
class Windows:
    """`undelete_s`: how long an expunged message can be restored. `grace_s`: how long an object stays unneeded."""

    undelete_s: float
    grace_s: float


class Collector:
    """Run `run()` in each process."""

    def __init__(self, blobs: Blobs, windows: Windows) -> None:
        self._blobs, self._windows = blobs, windows
        self._damaged: set[str] = set()

    async def run(self) -> None:
        """Collect now and then until cancelled; what is away is waited for."""
        while True:
            # Replicas that start together don't come together.
            await asyncio.sleep(EVERY_S * random.uniform(0.5, 1))  # noqa: S311 - spreads load
            try:
                await self.collect()
            except Unavailable as error:
                log.info("collecting_interrupted", error=str(error))

    async def collect(self) -> bool:
        """Remove all there is to remove. False: another replica is at it. Raises Unavailable."""
        database, blobs, windows = self._blobs.database, self._blobs, self._windows
        async with _turn(database) as is_ours:
            if not is_ours:
                return False
            await _repeated(lambda: expire_tombstones(database, windows.undelete_s))
            await _repeated(lambda: remove_ended_transmissions(database))
            await _repeated(lambda: remove_repeatable_transmissions(database))
            await _repeated(lambda: walk_blobs(database))
            await _repeated(lambda: rewrite_poor_packs(blobs, self._damaged))
            await _repeated(lambda: delete_dead_objects(blobs, windows.grace_s))
            await _repeated(lambda: sweep_orphans(blobs, windows.grace_s))
        return True


async def _repeated(step: Callable[[], Awaitable[int]]) -> None:
    while await step():  # noqa: ASYNC110 - not waiting for something: leaving room
        await asyncio.sleep(PAUSE_S)


@asynccontextmanager
async def _turn(database: Database) -> AsyncIterator[bool]:
    """Whether it is this replica's turn for the block. It only spares work: every step is safe beside another."""
    async with database.transaction() as connection:
        yield (await run(connection, "SELECT pg_try_advisory_xact_lock(:key)", key=_LOCK)).scalar_one()
