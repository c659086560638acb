"""The commit coalescer: what arrives while a batch commits goes into the next one (group commit)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from mail_runtime.contracts.errors import StoreError, Unavailable
from store_api.blobs.blobs import Blobs
from store_api.blobs.writing import write
from store_api.db.engine import Database
from store_api.ingest.incoming import Incoming, Stored, insert, summary_row

log = structlog.get_logger()

BATCH_MESSAGES: Final = 256
BATCH_OCTETS: Final = 32 * 1024 * 1024
# Two batches in flight: one writes its pack while the other commits.
COMMITTERS: Final = 2
# A scan of a message larger than this goes to a thread: it would hold up the others.
SCAN_INLINE_OCTETS: Final = 256 * 1024
MAX_PENDING_OCTETS: Final = 256 * 1024 * 1024

Waiting = tuple[Incoming, bytes, "asyncio.Future[list[Stored]]"]


class Coalescer:
    """Use `store()` from any number of requests while `run()` runs."""

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        committed: Callable[[Sequence[Incoming], list[list[Stored]]], Awaitable[None]],
    ) -> None:
        self._database, self._blobs, self._committed = database, blobs, committed
        self._pending: deque[Waiting] = deque()
        self._pending_octets = 0
        self._arrived = asyncio.Event()

    async def store(self, incoming: Incoming) -> list[Stored]:
        """Returns the rows after commit. Raises Unavailable: nothing is promised, repeat it later."""
        if self._pending_octets > MAX_PENDING_OCTETS:
            raise Unavailable("too much mail is waiting to be stored; try again later")
        if len(incoming.octets) > SCAN_INLINE_OCTETS:
            summary = await asyncio.to_thread(summary_row, incoming)
        else:
            summary = summary_row(incoming)
        future: asyncio.Future[list[Stored]] = asyncio.get_running_loop().create_future()
        self._pending.append((incoming, summary, future))
        self._pending_octets += len(incoming.octets)
        self._arrived.set()
        return await future

    async def run(self) -> None:
        """Commit until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(COMMITTERS):
                group.create_task(self._commit_forever())

    async def _commit_forever(self) -> None:
        while True:
            await self._arrived.wait()
            batch = self._take()
            if not batch:
                self._arrived.clear()
                continue
            await self._commit(batch)

    def _take(self) -> list[Waiting]:
        batch: list[Waiting] = []
        octets = 0
        while self._pending and len(batch) < BATCH_MESSAGES and (not batch or octets < BATCH_OCTETS):
            waiting = self._pending.popleft()
            self._pending_octets -= len(waiting[0].octets)
            octets += len(waiting[0].octets)
            if not waiting[2].done():  # its request was cancelled
                batch.append(waiting)
        return batch

    async def _commit(self, batch: list[Waiting]) -> None:
        """Commit together; when that fails one by one, so that a bad message can't fail its neighbours."""
        try:
            results = await self._insert(batch)
        except Unavailable as error:
            self._fail(batch, error)
            return
        except (SQLAlchemyError, StoreError) as error:
            if len(batch) == 1:
                log.error("commit_failed", error=repr(error))
                self._fail(batch, Unavailable("the message couldn't be stored; try again later"))
                return
            for waiting in batch:
                await self._commit([waiting])
            return
        except BaseException:
            self._fail(batch, Unavailable("the store is stopping; try again later"))
            raise
        for (_, _, future), stored in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(stored)
        await self._committed([incoming for incoming, _, _ in batch], results)

    @staticmethod
    def _fail(batch: list[Waiting], error: StoreError) -> None:
        for _, _, future in batch:
            if not future.done():
                future.set_exception(type(error)(str(error)))

    async def _insert(self, batch: list[Waiting]) -> list[list[Stored]]:
        messages = [incoming for incoming, _, _ in batch]
        written = await write(self._blobs, [incoming.body for incoming in messages])
        async with self._database.transaction() as connection:
            return await insert(connection, messages, written, [summary for _, summary, _ in batch])
