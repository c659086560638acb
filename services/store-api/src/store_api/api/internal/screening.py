"""What smtp-in asks about strangers and senders."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from mail_runtime.contracts.errors import Refused
from mail_runtime.contracts.store.screening import Spend, Stranger, Told
from store_api.api.access import TheStore
from store_api.api.internal.bodies import packed, read_value
from store_api.events.outbox import Event, record
from store_api.screening import greylist

router = APIRouter()


@router.post("/greylist")
async def post_greylist(store: TheStore, request: Request) -> Response:
    stranger = await read_value(request, Stranger)
    async with store.database.transaction() as connection:
        wait_s = await greylist.see(connection, stranger)
    return packed(wait_s)


@router.post("/allowances")
async def post_allowance(store: TheStore, request: Request) -> Response:
    return packed(await store.spending.ask(await read_value(request, Spend)))


@router.post("/events", status_code=204)
async def post_events(store: TheStore, request: Request) -> None:
    told = await read_value(request, list[Told])
    if not all(one.type.startswith("dmarc.") for one in told):
        raise Refused("events of this type aren't told by frontends")
    async with store.database.transaction() as connection:
        await record(connection, [Event(one.type, one.content) for one in told])
