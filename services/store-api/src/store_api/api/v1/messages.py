"""Messages of an account: listed, read, as they came, part by part."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

import msgspec
from fastapi import APIRouter, Header, Path, Query
from pydantic import AwareDatetime
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from mail_runtime.contracts.store import Summary
from store_api.api.access import OwnAccount, TheAccount, TheStore
from store_api.api.internal.bodies import body_response
from store_api.api.v1.common import MESSAGES, Limit
from store_api.api.v1.cursors import Cursor
from store_api.api.v1.message_models import Messages, ReadMessage
from store_api.blobs.places import Place
from store_api.blobs.reading import loaded
from store_api.messages.contents import places
from store_api.messages.finding import find_rows
from store_api.messages.listing import Filters, Key, key_of, list_messages
from store_api.messages.parts import leaf_at, open_part, read_part
from store_api.messages.showing import list_item, parts_path, read_item
from store_api.store import Store

router = APIRouter(prefix="/accounts/{address}", tags=[MESSAGES])

# Contents of a message never change; only its owner may keep them.
FOREVER: Final = {"Cache-Control": "private, max-age=31536000, immutable"}
# Whatever a part says it is: a browser doesn't guess, and runs nothing of it.
HARMLESS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'",
    "Cross-Origin-Resource-Policy": "same-site",
}

_encode: Final = msgspec.json.Encoder().encode

Seen = Annotated[bool | None, Query(description="only those that have, or have not, been read")]
Flagged = Annotated[bool | None, Query(description="only those that are, or are not, flagged")]
Since = Annotated[AwareDatetime | None, Query(description="arrived then or later", examples=["2026-03-01T00:00:00Z"])]
Before = Annotated[AwareDatetime | None, Query(description="arrived earlier", examples=["2026-04-01T00:00:00Z"])]
HasAttachment = Annotated[bool | None, Query(description="only those with something to save, or without")]
ThreadId = Annotated[UUID | None, Query(description="only those of a conversation")]
InMailbox = Annotated[UUID | None, Query(description="the mailbox, if the message is in several")]
IfNoneMatch = Annotated[str | None, Header(description="`ETag` of what you have")]


def json(value: object, headers: dict[str, str] | None = None) -> Response:
    """Plain values as JSON; ten times as fast as by way of models."""
    return Response(_encode(value), media_type="application/json", headers=headers)


async def _page(store: Store, account: OwnAccount, filters: Filters, limit: int, cursor: str | None) -> Response:
    of = f"messages {account.id} {filters}"
    after = store.cursors.after(of, cursor, Key)
    found = await list_messages(store.database, account.id, filters, after, limit + 1)
    page, following = store.cursors.page(of, found, limit, key_of)
    return json({"items": [list_item(row) for row in page], "next_cursor": following})


def seconds(moment: datetime | None) -> int | None:
    """Since the epoch."""
    return None if moment is None else int(moment.timestamp())


@router.get("/messages", responses={200: {"model": Messages}})
async def get_messages(
    store: TheStore,
    account: TheAccount,
    mailbox_id: Annotated[UUID | None, Query(description="only those in a mailbox")] = None,
    thread_id: ThreadId = None,
    seen: Seen = None,
    flagged: Flagged = None,
    since: Since = None,
    before: Before = None,
    has_attachment: HasAttachment = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Messages of all mailboxes, or of one, newest first. A copy is listed in each mailbox that it is in."""
    filters = Filters(mailbox_id, thread_id, seen, flagged, seconds(since), seconds(before), has_attachment)
    return await _page(store, account, filters, limit, cursor)


@router.get("/mailboxes/{mailbox_id}/messages", responses={200: {"model": Messages}})
async def get_mailbox_messages(
    store: TheStore,
    account: TheAccount,
    mailbox_id: UUID,
    thread_id: ThreadId = None,
    seen: Seen = None,
    flagged: Flagged = None,
    since: Since = None,
    before: Before = None,
    has_attachment: HasAttachment = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Messages of a mailbox, newest first."""
    filters = Filters(mailbox_id, thread_id, seen, flagged, seconds(since), seconds(before), has_attachment)
    return await _page(store, account, filters, limit, cursor)


@router.get(
    "/messages/{message_id}",
    responses={200: {"model": ReadMessage, "headers": {"ETag": {"schema": {"type": "string"}}}}, 304: {}},
)
async def get_message(
    store: TheStore,
    account: TheAccount,
    message_id: UUID,
    mailbox_id: InMailbox = None,
    remote_images: Annotated[bool, Query(description="keep images on other servers: these see who reads when")] = False,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """One message, decoded."""
    row = (await find_rows(store.database, account.id, message_id, mailbox_id))[0]
    headers = {"ETag": etag(row.mailbox_id, row.modseq), "Cache-Control": "private, no-cache"}
    if if_none_match == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    root = _summary(row.summary).root
    async with loaded(store.blobs, await _place(store, account, row.blob_id)) as octets:
        path = parts_path(account.address, message_id)
        shown = await run_in_threadpool(read_item, row, octets, root, path, remote_images=remote_images)
    return json(shown, headers)


@router.get("/messages/{message_id}/raw", response_class=Response, responses={200: {"content": {"message/rfc822": {}}}})
async def get_raw_message(store: TheStore, account: TheAccount, message_id: UUID) -> Response:
    """The message, octet for octet."""
    row = (await find_rows(store.database, account.id, message_id))[0]
    response = await body_response(store.blobs, await _place(store, account, row.blob_id))
    response.headers.update(HARMLESS | FOREVER)
    return response


@router.get(
    "/messages/{message_id}/parts/{part}",
    response_class=Response,
    responses={200: {"description": "with the part's own type", "content": {"*/*": {}}}},
)
async def get_part(
    store: TheStore,
    account: TheAccount,
    message_id: UUID,
    part: Annotated[str, Path(pattern=r"^[1-9][0-9]{0,4}(\.[1-9][0-9]{0,4}){0,99}$", examples=["1.2"])],
) -> Response:
    """One part of a message, decoded."""
    row = (await find_rows(store.database, account.id, message_id))[0]
    found = leaf_at(_summary(row.summary).root, tuple(int(number) for number in part.split(".")))
    place = await _place(store, account, row.blob_id)
    opened = await open_part(store.blobs, place, found)
    headers = HARMLESS | FOREVER | {"Content-Disposition": opened.content_disposition}
    return StreamingResponse(
        read_part(store.blobs, place, opened), headers=headers | {"Content-Type": opened.content_type}
    )


def etag(mailbox_id: UUID, modseq: int) -> str:
    """Of a message in a mailbox: it changes with its flags."""
    return f'"{mailbox_id.hex}-{modseq}"'


async def _place(store: Store, account: OwnAccount, blob_id: UUID) -> Place:
    return (await places(store.database, account.id, [blob_id]))[0]


def _summary(summary: bytes) -> Summary:
    return msgspec.msgpack.decode(summary, type=Summary)
