"""Internal route of searches."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from mail_runtime.contracts.store import BlobIds
from mail_runtime.contracts.store import search as wire
from store_api.api.access import TheStore
from store_api.api.internal.bodies import packed, read_value
from store_api.search.keys import header_fields
from store_api.search.search import search

router = APIRouter(prefix="/accounts/{account_id}")


@router.post("/mailboxes/{mailbox_id}/search")
async def post_search(store: TheStore, account_id: UUID, mailbox_id: UUID, request: Request) -> Response:
    wanted = await read_value(request, wire.Search)
    return packed(await search(store.database, store.blobs, account_id, mailbox_id, wanted))


@router.post("/header-fields")
async def post_header_fields(store: TheStore, account_id: UUID, request: Request) -> Response:
    wanted = await read_value(request, BlobIds)
    return packed(await header_fields(store.database, account_id, wanted.ids))
