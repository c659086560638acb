"""The commit coalescer: what arrives while a batch commits goes into the next one (group commit).

A batch is planned (one resolution of all its recipients), its bodies are written, its rows are inserted; all on one
connection, whose locks come last. Should it turn out that a mailbox has gone or is full, the batch is planned anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import NotFound, OverQuota, Refused, StoreError, Unavailable
from mail_runtime.tracing import trace_id
from store_api.blobs.blobs import Blobs
from store_api.blobs.writing import WrittenBlob, write
from store_api.db.engine import Database
from store_api.ingest.commit import PlanChanged, insert
from store_api.ingest.drafts import Arrived
from store_api.ingest.gathering import Gathering, Waiting
from store_api.ingest.incoming import SCAN_INLINE_OCTETS, Group, Incoming, Place, Scanned, Stored, scan
from store_api.ingest.pace import Pace
from store_api.ingest.planning import Plan, Rooms, Rules, plan
from store_api.mailboxes.quota import read_room

log = structlog.get_logger()

# Rows of the table `message` that one transaction inserts, if it has more than one message to store.
BATCH_ROWS: Final = 20_000
# Two batches in flight: one writes its pack while the other commits.
COMMITTERS: Final = 2
MAX_PENDING_OCTETS: Final = 256 * 1024 * 1024
# A mailbox can go, or fill up, between planning and commit; not all the time.
MAX_PLANS: Final = 5

Committed = Callable[[Sequence[Group], Sequence[Sequence[Stored]]], Awaitable[None]]


@dataclass(slots=True)
class _Attempt:
    """What is known about a batch: bodies that were written, accounts that may be full, places that have gone.

    `rooms` is what these accounts have left as the batch is planned. All that were ever looked at count: where two
    share a quota, the plan would else give to each by turns what the other was refused.
    """

    written: dict[UUID, WrittenBlob] = field(default_factory=dict)
    accounts: frozenset[UUID] = frozenset()
    rooms: Rooms = field(default_factory=dict)
    gone: frozenset[Place] = frozenset()


class Coalescer:
    """Use `accept()` and `store()` from any number of requests while `run()` runs."""

    def __init__(self, database: Database, blobs: Blobs, rules: Rules, committed: Committed) -> None:
        self._database, self._blobs, self._rules, self._committed = database, blobs, rules, committed
        self._gathering = Gathering()
        self.pace = Pace()

    async def accept(self, arrived: Arrived) -> None:
        """Store a transmission for all its recipients; returns after commit.

        Raises Refused, OverQuota: nothing of it is stored. Unavailable: nothing is promised, repeat it later.
        """
        await self._wait_for(replace(arrived, scanned=await _scanned(arrived)), len(arrived.octets))

    async def store(self, group: Group) -> list[Stored]:
        """Store messages in mailboxes, all or none; returns the rows after commit.

        Raises NotFound: a mailbox isn't there. OverQuota. Unavailable: nothing is promised, repeat it later.
        """
        ready = [await _ready(incoming) for incoming in group]
        return await self._wait_for(ready, sum(len(incoming.octets) for incoming in ready))

    async def _wait_for(self, request: Arrived | Group, octets: int) -> list[Stored]:
        if self._gathering.octets > MAX_PENDING_OCTETS:
            raise Unavailable("too much mail is waiting to be stored; try again later")
        future: asyncio.Future[list[Stored]] = asyncio.get_running_loop().create_future()
        self._gathering.add(Waiting(request, octets, future))
        with self.pace:
            return await future

    async def run(self) -> None:
        """Commit until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(COMMITTERS):
                group.create_task(self._commit_forever())

    async def _commit_forever(self) -> None:
        while True:
            async with self._gathering.batch() as batch:
                await self._commit(batch)
            del batch  # or its octets stay in memory until the next one comes

    async def _commit(self, batch: Sequence[Waiting]) -> None:
        """Commit together; when that fails one by one, so that a bad message can't fail its neighbours."""
        try:
            await self._store(batch)
        except Unavailable as error:
            _fail(batch, error)
        except (SQLAlchemyError, StoreError) as error:
            if len(batch) > 1:
                for waiting in batch:
                    await self._commit([waiting])
                return
            if isinstance(error, Refused):
                _fail(batch, error)
                return
            log.error("commit_failed", error=repr(error))
            _fail(batch, Unavailable("the message couldn't be stored; try again later"))
        except BaseException:
            _fail(batch, Unavailable("the store is stopping; try again later"))
            raise

    async def _store(self, batch: Sequence[Waiting]) -> None:
        attempt = _Attempt()
        for _ in range(MAX_PLANS):
            try:
                async with self._database.transaction() as connection:
                    attempt.rooms = await read_room(connection, attempt.accounts) if attempt.accounts else {}
                    plans = await self._plan(connection, batch, attempt)
                    groups = [plan for plan in plans if not isinstance(plan, StoreError)]
                    if len(batch) > 1 and sum(len(i.targets) for group in groups for i in group) > BATCH_ROWS:
                        raise _TooManyRows
                    stored = await self._insert(connection, groups, attempt)
            except PlanChanged as changed:
                attempt.accounts |= changed.accounts
                attempt.gone |= changed.gone
                continue
            except _TooManyRows:
                for waiting in batch:
                    await self._commit([waiting])
                return
            log.info("stored", messages=len(groups), trace_ids=_trace_ids(batch))
            try:
                # Told before it is answered: who then asks elsewhere has heard of it (`mail_runtime.order`).
                await self._committed(groups, stored)
            finally:
                _answer(batch, plans, stored)
            return
        raise Unavailable("the mailboxes are changing; try again later")

    async def _plan(self, connection: AsyncConnection, batch: Sequence[Waiting], attempt: _Attempt) -> list[Plan]:
        groups = [
            None if isinstance(waiting.request, Arrived) else _checked(waiting.request, attempt) for waiting in batch
        ]
        arrived = [waiting.request for waiting in batch if isinstance(waiting.request, Arrived)]
        if not arrived:
            return [group for group in groups if group is not None]
        planned = iter(await plan(connection, self._rules, arrived, attempt.rooms))
        return [next(planned) if group is None else group for group in groups]

    async def _insert(
        self, connection: AsyncConnection, groups: Sequence[Group], attempt: _Attempt
    ) -> list[list[Stored]]:
        """Bytes first, rows second. The transaction holds no lock yet while bytes are written."""
        ready = [[i if i.scanned is not None else await _ready(i) for i in group] for group in groups]
        bodies = [incoming.body for group in ready for incoming in group if incoming.blob_id not in attempt.written]
        attempt.written.update((blob.blob_id, blob) for blob in await write(self._blobs, bodies))
        return await insert(connection, ready, attempt.written)


class _TooManyRows(Exception):
    """The messages of a batch lead to too many mailboxes: one by one."""


async def _ready(incoming: Incoming) -> Incoming:
    return replace(incoming, scanned=await _scanned(incoming))


async def _scanned(message: Arrived | Incoming) -> Scanned:
    if message.scanned is not None:
        return message.scanned
    if len(message.octets) > SCAN_INLINE_OCTETS:
        return await asyncio.to_thread(scan, message.octets, message.blob_id)
    return scan(message.octets, message.blob_id)


def _checked(group: Group, attempt: _Attempt) -> Plan:
    """A group as it is, or why it can't be stored by what the last transaction found."""
    for incoming in group:
        for target in incoming.targets:
            if target.place in attempt.gone:
                return NotFound("there is no such mailbox")
            room = attempt.rooms.get(target.account_id)
            if room is not None and not room.takes(len(incoming.octets)):
                return OverQuota("the mailbox is full: the account has no room left for this")
    return group


def _trace_ids(batch: Sequence[Waiting]) -> list[str]:
    """One line of the log for all of a batch: what it costs is spread over its messages."""
    ids = (trace_id(waiting.request.traceparent) for waiting in batch if isinstance(waiting.request, Arrived))
    return [found for found in ids if found is not None]


def _answer(batch: Sequence[Waiting], plans: Sequence[Plan], stored: Sequence[list[Stored]]) -> None:
    rows = iter(stored)
    for waiting, planned in zip(batch, plans, strict=True):
        if isinstance(planned, StoreError):
            _fail([waiting], planned)
        else:
            result = next(rows)
            if not waiting.future.done():
                waiting.future.set_result(result)


def _fail(batch: Sequence[Waiting], error: StoreError) -> None:
    for waiting in batch:
        if not waiting.future.done():
            waiting.future.set_exception(type(error)(str(error)))
