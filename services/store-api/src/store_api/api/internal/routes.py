"""The internal interface: what the frontends call. It is dispatched by `internal.dispatch`."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from mail_runtime.contracts import store as wire
from store_api.api.access import TheStore
from store_api.api.internal import logins, mailboxes, maildrops, screening, search
from store_api.api.internal.bodies import body_response, packed, read_value, received_message
from store_api.directory.questions import check_sender, recipients
from store_api.dkim.signing import keys_for, signatures
from store_api.ingest.submission import accept
from store_api.messages.contents import transmission_place

router = APIRouter(prefix="/internal")
router.include_router(mailboxes.router)
router.include_router(maildrops.router)
router.include_router(logins.router)
router.include_router(screening.router)
router.include_router(search.router)


@router.get("/ready", status_code=204)
async def get_ready(store: TheStore) -> None:
    await store.ready()


@router.post("/resolve")
async def post_resolve(
    store: TheStore, request: Request, reverse_path: str = "", submitted_by: UUID | None = None
) -> Response:
    addresses = await read_value(request, list[str])
    async with store.database.transaction() as connection:
        found = await recipients(connection, store.rules.srs, addresses, reverse_path, submitted_by)
    return packed(found)


@router.post("/accounts/{account_id}/sender", status_code=204)
async def post_sender(store: TheStore, account_id: UUID, request: Request) -> None:
    address = await read_value(request, str)
    async with store.database.transaction() as connection:
        await check_sender(connection, account_id, address)


@router.post("/transmissions")
async def post_transmission(store: TheStore, request: Request) -> Response:
    limit = store.settings.max_message_octets
    async with received_message(request, wire.Transmission, limit, store.blobs) as (transmission, octets):
        await accept(store.coalescer, transmission, octets, max_octets=limit)
    return packed(wire.Accepted(transmission_id=transmission.id))


@router.get("/transmissions/{transmission_id}/message")
async def get_transmission_message(store: TheStore, transmission_id: UUID) -> Response:
    """The message as it leaves: with the signatures of its domain on top."""
    place = await transmission_place(store.database, transmission_id)
    keys = await keys_for(store.database, transmission_id)
    on_top = await signatures(store.blobs, place, keys, store.settings.hostname) if keys else b""
    return await body_response(store.blobs, place, on_top)


@router.post("/deliveries/claim")
async def post_claim(store: TheStore, request: Request) -> Response:
    return packed(await store.claiming.ask(await read_value(request, wire.ClaimDeliveries)))


@router.post("/deliveries/outcomes", status_code=204)
async def post_outcomes(store: TheStore, request: Request) -> None:
    await store.report(await read_value(request, wire.Outcomes))
