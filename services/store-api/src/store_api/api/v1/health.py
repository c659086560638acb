"""Whether the parts that the store needs answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec
import nats.errors
from fastapi import APIRouter, Response
from nats.js.errors import Error as JetStreamError
from nats.js.errors import NotFoundError
from pydantic import BaseModel, Field

from mail_runtime.bus import BusUnavailable
from mail_runtime.contracts.errors import Unavailable
from mail_runtime.contracts.subjects import PRESENCE, RELAY_CONSUMER, RELAY_STREAM, Present
from store_api.api.access import Admin, TheStore
from store_api.api.v1.common import ADMINISTRATION
from store_api.db.engine import run
from store_api.store import Store

router = APIRouter(tags=[ADMINISTRATION])

CHECK_TIMEOUT_S: Final = 5.0
# Within one data centre an answer takes a millisecond; a process that is busy somewhat longer.
PRESENCE_S: Final = 0.5

_WAITING: Final = """
SELECT (SELECT count(*) FROM (SELECT FROM event LIMIT 100000) e) AS events,
       coalesce((SELECT extract(epoch FROM now() - created_at) FROM event ORDER BY number LIMIT 1), 0)
           AS oldest_event_s,
       (SELECT count(*) FROM delivery WHERE state = 'queued') AS queued,
       (SELECT count(*) FROM delivery WHERE state = 'queued' AND publish_after < now() - interval '1 minute') AS late,
       (SELECT count(*) FROM webhook_delivery WHERE state = 'waiting') AS webhook_deliveries
"""


class Part(BaseModel):
    """One part. `detail` says what is wrong, or what it is doing."""

    name: str = Field(examples=["postgres"])
    ok: bool
    ms: float = Field(description="how long it took to answer", examples=[1.2])
    detail: dict[str, Any] = Field(examples=[{"queued": 3}])


class Process(BaseModel):
    """A process that answered over NATS. POP3 doesn't use NATS, and isn't among them."""

    service: str = Field(examples=["imap"])
    host: str = Field(examples=["imap-7c9d"])
    pid: int = Field(examples=[17])
    since: datetime


class Health(BaseModel):
    """`degraded`: mail is accepted and read, but sending or telling of changes waits; `down`: try again later."""

    status: Literal["ok", "degraded", "down"]
    parts: list[Part]
    processes: list[Process]


@router.get("/health", responses={200: {"description": "the parts, whether they are well or not"}})
async def get_health(store: TheStore, actor: Admin, response: Response) -> Health:
    """Postgres, the object storage, NATS, and those who relay mail; what waits for each."""
    processes = asyncio.create_task(_processes(store))
    parts = await asyncio.gather(
        _checked("postgres", lambda: _postgres(store)),
        _checked("object-storage", lambda: _object_storage(store)),
        _checked("nats", lambda: _nats(store)),
        _checked("smtp-out", lambda: _relays(store)),
    )
    response.headers["Cache-Control"] = "no-store"
    needed = all(part.ok for part in parts[:2])
    status: Literal["ok", "degraded", "down"] = "down" if not needed else "degraded"
    if all(part.ok for part in parts):
        status = "ok"
    return Health(status=status, parts=list(parts), processes=await processes)


async def _processes(store: Store) -> list[Process]:
    """Who is there, sorted; nobody while NATS is away."""
    try:
        answers = await store.publisher.bus.ask_all(PRESENCE, PRESENCE_S)
    except BusUnavailable:
        return []
    present = [msgspec.msgpack.decode(answer, type=Present) for answer in answers]
    return [
        Process(service=each.service, host=each.host, pid=each.pid, since=datetime.fromtimestamp(each.since, UTC))
        for each in sorted(present, key=lambda each: (each.service, each.host, each.pid))
    ]


async def _checked(name: str, check: Callable[[], Awaitable[dict[str, Any]]]) -> Part:
    start = time.perf_counter()
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            detail, ok = await check(), True
    except TimeoutError:
        detail, ok = {"error": f"no answer within {CHECK_TIMEOUT_S:.0f} s"}, False
    except (Unavailable, BusUnavailable, JetStreamError, nats.errors.Error, OSError) as error:
        detail, ok = {"error": str(error) or type(error).__name__}, False
    return Part(name=name, ok=ok, ms=round((time.perf_counter() - start) * 1000, 1), detail=detail)


async def _postgres(store: Store) -> dict[str, Any]:
    async with store.database.transaction() as connection:
        row = (await run(connection, _WAITING)).one()
    return {
        "events_waiting": row.events,
        "oldest_event_s": round(float(row.oldest_event_s), 1),
        "deliveries_queued": row.queued,
        "deliveries_late": row.late,
        "webhook_deliveries_waiting": row.webhook_deliveries,
    }


async def _object_storage(store: Store) -> dict[str, Any]:
    await store.blobs.check()
    return {}


async def _nats(store: Store) -> dict[str, Any]:
    info = await store.publisher.bus.jetstream().account_info()
    return {"streams": info.streams, "consumers": info.consumers, "stored_octets": info.storage}


async def _relays(store: Store) -> dict[str, Any]:
    """Relays are those who wait for jobs."""
    try:
        info = await store.publisher.bus.jetstream().consumer_info(RELAY_STREAM, RELAY_CONSUMER)
    except NotFoundError as error:
        raise Unavailable("no relay has started yet") from error
    detail = {"waiting_for_jobs": info.num_waiting or 0, "jobs_waiting": info.num_pending or 0}
    detail["jobs_under_way"] = info.num_ack_pending or 0
    if not detail["waiting_for_jobs"] and not detail["jobs_under_way"]:
        raise Unavailable("no relay asks for jobs")
    return detail
