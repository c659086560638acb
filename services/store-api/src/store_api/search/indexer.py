"""The worker that indexes: what events tell of at once, and what they didn't tell of by a slow walk."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import Error as JetStreamError

from mail_runtime.bus import Bus, BusUnavailable
from mail_runtime.contracts.errors import Unavailable
from mail_runtime.contracts.events import EVENTS_STREAM, CloudEvent, event_subject
from store_api.blobs.blobs import Blobs
from store_api.db.engine import Database, run
from store_api.search.indexing import Wanted, index_blobs
from store_api.search.parsing import VERSION

log = structlog.get_logger()

CONSUMER: Final = "indexer"
STORED: Final = "message.stored"
BATCH: Final = 100
# How long a batch may take before another process gets its events.
ACK_WAIT_S: Final = 120.0
FETCH_TIMEOUT_S: Final = 5.0
RETRY_S: Final = 2.0
# Ours: a message that can't be indexed so often is left to the walk.
MAX_DELIVERIES: Final = 5
# The walk looks at so many messages, and rests; between two walks it rests longer. Its first one begins at once:
# messages of a time before the index, or before it knew all that it keeps now, or of a store without NATS.
WALK_MESSAGES: Final = 1_000
WALK_PAUSE_S: Final = 0.5
WALKS_PAUSE_S: Final = 60.0

_WALK: Final = """
SELECT account_id, blob_id,
       EXISTS (SELECT 1 FROM message_text t WHERE t.account_id = m.account_id AND t.blob_id = m.blob_id
                                              AND t.version >= :version) AS is_indexed
FROM message m WHERE (blob_id, account_id) > (:blob_id, :account_id) ORDER BY blob_id, account_id LIMIT :limit
"""


class _Stored(msgspec.Struct, frozen=True):
    """The data of an event `message.stored`."""

    blob_id: UUID


class Indexer:
    """One per process; replicas share the events of one durable consumer, and skip what another has in hand."""

    def __init__(self, database: Database, blobs: Blobs, bus: Bus) -> None:
        self._database, self._blobs, self._bus = database, blobs, bus
        # Called before each batch: returns when more urgent work leaves time for it. The store sets it.
        self.give_way: Callable[[], Awaitable[None]] | None = None
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Index until cancelled; whatever is down is tried again."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="indexer-events")
            group.create_task(self._walk(), name="indexer-walk")

    async def _index(self, wanted: Sequence[Wanted]) -> None:
        """One batch at a time, whoever found it."""
        async with self._turn:
            if self.give_way is not None:
                await self.give_way()
            await index_blobs(self._database, self._blobs, wanted)

    # Events

    async def _follow(self) -> None:
        while True:
            try:
                await self._consume(self._bus.jetstream())
            except (BusUnavailable, JetStreamError, nats.errors.Error, Unavailable, OSError, TimeoutError) as error:
                log.info("indexer_waits", error=repr(error))
            await asyncio.sleep(RETRY_S)

    async def _consume(self, jetstream: JetStreamContext) -> None:
        """Raises BusUnavailable, JetStreamError: also while the stream isn't there yet. Unavailable."""
        subject = event_subject(STORED)
        consumer = await jetstream.pull_subscribe(
            subject,
            durable=CONSUMER,
            stream=EVENTS_STREAM,
            config=ConsumerConfig(
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=ACK_WAIT_S,
                deliver_policy=DeliverPolicy.ALL,
                max_deliver=MAX_DELIVERIES,
                filter_subject=subject,
            ),
        )
        while True:
            try:
                messages = await consumer.fetch(BATCH, timeout=FETCH_TIMEOUT_S)
            except TimeoutError:
                continue
            await self._index([pair for message in messages for pair in _wanted(message)])
            for message in messages:
                await message.ack()

    # What no event told of

    async def _walk(self) -> None:
        while True:
            try:
                await self.catch_up()
            except Unavailable as error:
                log.info("indexer_waits", error=str(error))
            await asyncio.sleep(WALKS_PAUSE_S)

    async def catch_up(self) -> None:
        """Look at every message once, by the ids of blobs. Raises Unavailable."""
        account_id = blob_id = UUID(int=0)
        while rows := await self._look(account_id, blob_id):
            account_id, blob_id = rows[-1].account_id, rows[-1].blob_id
            missing = list({(row.account_id, row.blob_id): None for row in rows if not row.is_indexed})
            for at in range(0, len(missing), BATCH):
                await self._index(missing[at : at + BATCH])
            await asyncio.sleep(0 if missing else WALK_PAUSE_S)

    async def _look(self, account_id: UUID, blob_id: UUID) -> list[Any]:
        async with self._database.transaction() as connection:
            rows = await run(
                connection, _WALK, account_id=account_id, blob_id=blob_id, limit=WALK_MESSAGES, version=VERSION
            )
            return list(rows.all())


def _wanted(message: Msg) -> list[Wanted]:
    """The message that an event tells of; none where it can't be read."""
    try:
        event = msgspec.json.decode(message.data, type=CloudEvent)
        stored = msgspec.json.decode(event.data, type=_Stored)
    except msgspec.MsgspecError as error:
        log.error("event_unreadable", error=str(error))
        return []
    return [] if isinstance(event.accountid, msgspec.UnsetType) else [(event.accountid, stored.blob_id)]
