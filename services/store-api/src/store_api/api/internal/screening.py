"""What smtp-in asks about strangers and senders."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from mail_runtime.contracts.store.screening import Spend, Stranger
from store_api.api.access import TheStore
from store_api.api.internal.bodies import packed, read_value
from store_api.screening import allowances, greylist

router = APIRouter()


@router.post("/greylist")
async def post_greylist(store: TheStore, request: Request) -> Response:
    stranger = await read_value(request, Stranger)
    async with store.database.transaction() as connection:
        wait_s = await greylist.see(connection, stranger)
    return packed(wait_s)


@router.post("/allowances")
async def post_allowance(store: TheStore, request: Request) -> Response:
    wanted = await read_value(request, Spend)
    async with store.database.transaction() as connection:
        had_left = await allowances.spend(connection, wanted)
    return packed(had_left)
