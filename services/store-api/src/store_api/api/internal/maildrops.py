"""Internal routes of maildrops, for pop3."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final
from uuid import UUID

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from mail_runtime.contracts import store as wire
from mail_runtime.contracts.framing import pack_length, pack_stream
from store_api.api.access import TheStore
from store_api.api.internal.bodies import packed, read_value, streamed
from store_api.blobs.reading import framed, read_many, read_range
from store_api.events.notifier import Changed
from store_api.maildrops.closing import close_maildrop
from store_api.maildrops.locks import keep, lock_for_old, unlock_for_old
from store_api.maildrops.opening import open_maildrop, split_login
from store_api.maildrops.retrieving import begun, present

router = APIRouter()

OCTETS: Final = "application/octet-stream"
# So much is answered as one piece; more is streamed.
TOGETHER_OCTETS: Final = 1024 * 1024


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
    first = msgspec.msgpack.encode(uids)
    octets = sum(place.length for place in wanted)
    if octets <= TOGETHER_OCTETS:
        bodies = await read_many(store.blobs, wanted)
        return Response(b"".join(pack_stream([first, *bodies])), media_type=OCTETS)

    async def pieces() -> AsyncIterator[bytes]:
        yield pack_length(len(first)) + first
        async for piece in framed(store.blobs, wanted):
            yield piece

    return streamed(pieces(), len(first) + 4 + octets + 4 * len(wanted), OCTETS)


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
