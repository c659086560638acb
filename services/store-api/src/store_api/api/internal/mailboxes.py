"""Internal routes of mailboxes and the messages in them."""

from __future__ import annotations

from uuid import UUID

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from mail_runtime.contracts import framing
from mail_runtime.contracts import store as wire
from mail_runtime.contracts.store.annotations import FindAnnotations, SetAnnotations
from store_api.api.access import TheStore
from store_api.api.internal.bodies import OCTETS, framed_response, packed, read_value, received_message
from store_api.blobs.reading import read_range
from store_api.ingest.replacing import replace_message
from store_api.ingest.submission import append, append_all, append_elsewhere
from store_api.mailboxes.annotations import find_annotations, set_annotations
from store_api.mailboxes.changes import changes, columns
from store_api.mailboxes.deleted import count_deleted
from store_api.mailboxes.flags import store_flags
from store_api.mailboxes.mailboxes import (
    create_mailbox,
    delete_mailbox,
    list_former_subscriptions,
    list_mailboxes,
    subscribe,
)
from store_api.mailboxes.moving import copy_messages, expunge
from store_api.mailboxes.quota import Quota, quota_of
from store_api.mailboxes.recent import claim_recent, count_recent
from store_api.mailboxes.renaming import change_mailbox
from store_api.mailboxes.setting_quotas import quota_of_root, set_quota
from store_api.mailboxes.sharing import list_rights, set_rights
from store_api.messages.contents import places, summaries

router = APIRouter(prefix="/accounts/{account_id}")


@router.get("/mailboxes")
async def get_mailboxes(store: TheStore, account_id: UUID, *, elsewhere: bool = False) -> Response:
    return packed(await list_mailboxes(store.database, account_id, elsewhere=elsewhere))


@router.post("/mailboxes")
async def post_mailbox(store: TheStore, account_id: UUID, request: Request) -> Response:
    wanted = await read_value(request, wire.CreateMailbox)
    return packed(await create_mailbox(store.database, store.notifier, account_id, wanted))


@router.patch("/mailboxes/{mailbox_id}")
async def patch_mailbox(store: TheStore, account_id: UUID, mailbox_id: UUID, request: Request) -> Response:
    change = await read_value(request, wire.ChangeMailbox)
    return packed(await change_mailbox(store.database, store.notifier, account_id, mailbox_id, change))


@router.delete("/mailboxes/{mailbox_id}", status_code=204)
async def remove_mailbox(store: TheStore, account_id: UUID, mailbox_id: UUID) -> None:
    await delete_mailbox(store.database, store.notifier, account_id, mailbox_id)


@router.get("/former-subscriptions")
async def get_former_subscriptions(store: TheStore, account_id: UUID) -> Response:
    return packed(await list_former_subscriptions(store.database, account_id))


@router.post("/subscriptions", status_code=204)
async def post_subscription(store: TheStore, account_id: UUID, request: Request) -> None:
    await subscribe(store.database, store.notifier, account_id, await read_value(request, wire.Subscribe))


@router.post("/deleted")
async def post_deleted(store: TheStore, account_id: UUID, request: Request) -> Response:
    wanted = await read_value(request, wire.MailboxIds)
    return packed(await count_deleted(store.database, account_id, wanted.ids))


@router.post("/recent")
async def post_recent(store: TheStore, account_id: UUID, request: Request) -> Response:
    wanted = await read_value(request, wire.MailboxIds)
    return packed(await count_recent(store.database, account_id, wanted.ids))


@router.post("/mailboxes/{mailbox_id}/recent")
async def post_recent_of_mailbox(store: TheStore, account_id: UUID, mailbox_id: UUID, request: Request) -> Response:
    return packed(await claim_recent(store.database, account_id, mailbox_id, await read_value(request, int)))


@router.get("/quota")
async def get_quota(store: TheStore, account_id: UUID) -> Response:
    return packed(_usage(await quota_of(store.database, account_id)))


@router.post("/quotas")
async def post_quota(store: TheStore, account_id: UUID, request: Request) -> Response:
    wanted = await read_value(request, wire.SetQuota)
    return packed(_usage(await set_quota(store.database, account_id, wanted)))


@router.post("/quotas/find")
async def post_find_quota(store: TheStore, account_id: UUID, request: Request) -> Response:
    return packed(_usage(await quota_of_root(store.database, account_id, await read_value(request, str))))


def _usage(found: Quota) -> wire.QuotaUsage:
    return wire.QuotaUsage(
        octets=found.octets,
        messages=found.messages,
        octets_limit=found.octets_limit,
        messages_limit=found.messages_limit,
    )


@router.get("/mailboxes/{mailbox_id}/changes")
async def get_changes(store: TheStore, account_id: UUID, mailbox_id: UUID, since: int = 0) -> Response:
    return packed(await changes(store.database, account_id, mailbox_id, since))


@router.get("/mailboxes/{mailbox_id}/columns")
async def get_columns(
    store: TheStore, account_id: UUID, mailbox_id: UUID, since: int = 0, *, objects: bool = False
) -> Response:
    found = await columns(
        store.database, account_id, mailbox_id, since, with_objects=objects, kept=store.kept_mailboxes
    )
    return packed(found)


@router.post("/annotations/find")
async def post_find_annotations(store: TheStore, account_id: UUID, request: Request) -> Response:
    return packed(await find_annotations(store.database, account_id, None, await read_value(request, FindAnnotations)))


@router.post("/annotations", status_code=204)
async def post_annotations(store: TheStore, account_id: UUID, request: Request) -> None:
    await set_annotations(store.database, store.notifier, account_id, None, await read_value(request, SetAnnotations))


@router.post("/mailboxes/{mailbox_id}/annotations/find")
async def post_find_mailbox_annotations(
    store: TheStore, account_id: UUID, mailbox_id: UUID, request: Request
) -> Response:
    wanted = await read_value(request, FindAnnotations)
    return packed(await find_annotations(store.database, account_id, mailbox_id, wanted))


@router.post("/mailboxes/{mailbox_id}/annotations", status_code=204)
async def post_mailbox_annotations(store: TheStore, account_id: UUID, mailbox_id: UUID, request: Request) -> None:
    await set_annotations(
        store.database, store.notifier, account_id, mailbox_id, await read_value(request, SetAnnotations)
    )


@router.get("/mailboxes/{mailbox_id}/rights")
async def get_rights(store: TheStore, account_id: UUID, mailbox_id: UUID) -> Response:
    return packed(await list_rights(store.database, account_id, mailbox_id))


@router.post("/mailboxes/{mailbox_id}/rights", status_code=204)
async def post_rights(store: TheStore, account_id: UUID, mailbox_id: UUID, request: Request) -> None:
    change = await read_value(request, wire.SetRights)
    await set_rights(store.database, store.notifier, account_id, mailbox_id, change)


@router.post("/mailboxes/{mailbox_id}/messages")
async def post_message(
    store: TheStore, account_id: UUID, mailbox_id: UUID, request: Request, *, elsewhere: bool = False
) -> Response:
    limit = store.settings.max_message_octets
    async with received_message(request, wire.AppendHeader, limit, store.blobs) as (header, octets):
        if elsewhere:
            place = (store.database, store.coalescer, account_id, mailbox_id)
            return packed((await append_elsewhere(*place, [header], [octets], max_octets=limit))[0])
        return packed(await append(store.coalescer, account_id, mailbox_id, header, octets, max_octets=limit))


@router.post("/mailboxes/{mailbox_id}/message-sets")
async def post_messages(
    store: TheStore, account_id: UUID, mailbox_id: UUID, request: Request, *, elsewhere: bool = False
) -> Response:
    limit = store.settings.max_message_octets
    # Several have no room for more than one of the largest, and for what stands before each.
    async with received_message(request, list[wire.AppendHeader], 2 * limit, store.blobs) as (headers, octets):
        messages = framing.unpack_stream(octets[:])
        if elsewhere:
            place = (store.database, store.coalescer, account_id, mailbox_id)
            return packed(await append_elsewhere(*place, headers, messages, max_octets=limit))
        appended = await append_all(store.coalescer, account_id, mailbox_id, headers, messages, max_octets=limit)
    return packed(appended)


@router.post("/mailboxes/{mailbox_id}/replace")
async def post_replacement(
    store: TheStore, account_id: UUID, mailbox_id: UUID, request: Request, uid: int, target: UUID
) -> Response:
    limit = store.settings.max_message_octets
    async with received_message(request, wire.AppendHeader, limit, store.blobs) as (header, octets):
        parts = (store.database, store.blobs, store.notifier, account_id)
        return packed(await replace_message(*parts, (mailbox_id, uid), target, header, octets, max_octets=limit))


@router.post("/mailboxes/{mailbox_id}/flags")
async def post_flags(store: TheStore, account_id: UUID, mailbox_id: UUID, request: Request) -> Response:
    change = await read_value(request, wire.StoreFlags)
    return packed(await store_flags(store.database, store.notifier, account_id, mailbox_id, change))


@router.post("/mailboxes/{mailbox_id}/copy")
async def post_copy(store: TheStore, account_id: UUID, mailbox_id: UUID, request: Request) -> Response:
    wanted = await read_value(request, wire.CopyMessages)
    return packed(await copy_messages(store.database, store.notifier, account_id, mailbox_id, wanted))


@router.post("/mailboxes/{mailbox_id}/expunge")
async def post_expunge(store: TheStore, account_id: UUID, mailbox_id: UUID, request: Request) -> Response:
    wanted = await read_value(request, wire.Expunge)
    return packed(await expunge(store.database, store.notifier, account_id, mailbox_id, wanted))


@router.post("/summaries")
async def post_summaries(store: TheStore, account_id: UUID, request: Request) -> Response:
    wanted = await read_value(request, wire.BlobIds)
    # They are kept as they travel: nothing is decoded here.
    return packed([msgspec.Raw(kept) for kept in await summaries(store.database, account_id, wanted.ids)])


@router.post("/bodies")
async def post_bodies(store: TheStore, account_id: UUID, request: Request) -> Response:
    wanted = await places(store.database, account_id, (await read_value(request, wire.BlobIds)).ids)
    return await framed_response(store.blobs, wanted)


@router.get("/bodies/{blob_id}")
async def get_body_range(store: TheStore, account_id: UUID, blob_id: UUID, start: int, end: int) -> Response:
    place = (await places(store.database, account_id, [blob_id]))[0]
    return Response(await read_range(store.blobs, place, start, end), media_type=OCTETS)
