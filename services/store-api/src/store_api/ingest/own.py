"""A message of this system itself, stored in a transaction that somebody else has work in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import StoreError, Unavailable
from store_api.blobs.blobs import Blobs
from store_api.blobs.writing import WrittenBlob, write
from store_api.db.engine import Database
from store_api.ingest.coalescer import MAX_PLANS
from store_api.ingest.commit import PlanChanged, insert
from store_api.ingest.drafts import Arrived
from store_api.ingest.incoming import Group, Stored
from store_api.ingest.planning import Rooms, Rules, plan
from store_api.mailboxes.quota import read_room

log = structlog.get_logger()

Work = Callable[[AsyncConnection], Awaitable[None]]


async def store_own(
    database: Database, blobs: Blobs, rules: Rules, arrived: Arrived, work: Work
) -> tuple[Group, list[Stored]]:
    """Do `work` and store a bounce, both or neither. Returns what the bounce came to, and its rows.

    A bounce that can't reach anybody is dropped with a warning: its own reverse path is the null one. Raises what
    `work` raises; Unavailable.
    """
    written: dict[UUID, WrittenBlob] = {}
    accounts: frozenset[UUID] = frozenset()
    for _ in range(MAX_PLANS):
        async with database.transaction() as connection:
            rooms: Rooms = await read_room(connection, accounts) if accounts else {}
            (planned,) = await plan(connection, rules, [arrived], rooms)
        group: Group = () if isinstance(planned, StoreError) else planned
        if isinstance(planned, StoreError):
            log.warning("bounce_dropped", transmission_id=str(arrived.transmission.id), reason=str(planned))
        bodies = [incoming.body for incoming in group if incoming.blob_id not in written]
        written |= {blob.blob_id: blob for blob in await write(blobs, bodies)}
        try:
            async with database.transaction() as connection:
                await work(connection)
                (stored,) = await insert(connection, [group], written)
        except PlanChanged as changed:
            accounts |= changed.accounts
            continue
        return group, stored
    raise Unavailable("the mailboxes are changing; try again later")
