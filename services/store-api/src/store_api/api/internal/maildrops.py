"""Internal routes of maildrops, for pop3."""

from __future__ import annotations

from uuid import UUID

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from mail_runtime.contracts import store as wire
from store_api.api.access import TheStore
from store_api.api.internal.bodies import OCTETS, framed_response, packed, read_value
from store_api.blobs.reading import read_range
from store_api.events.notifier import Changed
from store_api.maildrops.closing import close_maildrop
from store_api.maildrops.locks import keep, lock_for_old, unlock_for_old
from store_api.maildrops.opening import open_maildrop, split_login
from store_api.maildrops.retrieving import begun, present

router = APIRouter()


@router.post("/maildrop-login")
async def post_maildrop_login(store: TheStore, request: Request) -> Response:
    return packed(await split_login(store.database, await read_value(request, str)))


@router.post("/maildrop-logins")
async def post_maildrop_logins(store: TheStore, request: Request) -> Response:
    wanted = await read_value(request, wire.LogInToMaildrop)
    given = wanted.credentials
    login, mailbox = await split_login(store.database, given.username)
    principal = await store.logins.authenticate(login, given.password, given.protocol, given.peer)
    opening = wanted.opening if mailbox is None else msgspec.structs.replace(wanted.opening, mailbox=mailbox)
    maildrop = await open_maildrop(store.database, principal.account_id, opening)
    return packed(wire.LoggedIn(principal=principal, maildrop=maildrop))


@router.post("/accounts/{account_id}/maildrop")
async def post_maildrop(store: TheStore, account_id: UUID, request: Request) -> Response:
    return packed(await open_maildrop(store.database, account_id, await read_value(request, wire.OpenMaildrop)))


@router.delete("/accounts/{account_id}/maildrop", status_code=204)
async def delete_maildrop(store: TheStore, account_id: UUID, request: Request) -> None:
    wanted = await read_value(request, wire.CloseMaildrop)
    modseq = await close_maildrop(store.database, account_id, wanted)
    if modseq is not None:
        changed = Changed()
        changed.note(account_id, wanted.mailbox_id, modseq)
        await store.notifier.announce(changed)


@router.put("/maildrop-locks")
async def put_maildrop_locks(store: TheStore, request: Request) -> Response:
    return packed(await keep(store.database, await read_value(request, wire.KeepMaildrops)))


@router.post("/accounts/{account_id}/retrieve")
async def post_retrieve(store: TheStore, account_id: UUID, request: Request) -> Response:
    uids, wanted = await present(store.database, account_id, await read_value(request, wire.Retrieve))
    return await framed_response(store.blobs, wanted, [msgspec.msgpack.encode(uids)])


@router.post("/accounts/{account_id}/retrieve-piece")
async def post_retrieve_piece(store: TheStore, account_id: UUID, request: Request) -> Response:
    wanted = await read_value(request, wire.RetrievePiece)
    place = await begun(store.database, account_id, wanted)
    octets = await read_range(store.blobs, place, wanted.start, wanted.end)
    return Response(place.sha256 + octets, media_type=OCTETS)


@router.put("/accounts/{account_id}/maildrop-lock", status_code=204)
async def put_maildrop_lock(store: TheStore, account_id: UUID, request: Request) -> None:
    await lock_for_old(store.database, account_id, await read_value(request, wire.MaildropLock))


@router.delete("/accounts/{account_id}/maildrop-lock", status_code=204)
async def delete_maildrop_lock(store: TheStore, account_id: UUID, owner: UUID) -> None:
    await unlock_for_old(store.database, account_id, owner)
