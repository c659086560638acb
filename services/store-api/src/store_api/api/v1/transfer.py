"""Backup and restore of whole systems: rows as NDJSON, octets as frames. An admin's only."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import Response, StreamingResponse

from store_api.api.access import Admin, TheAccount, TheStore
from store_api.api.idempotency import Idempotent
from store_api.api.internal.bodies import body_response, read_bounded
from store_api.api.limits import MAX_ROWS_OCTETS
from store_api.api.problems import Refusal, problems
from store_api.api.v1.common import ADMINISTRATION, Input
from store_api.audit.audit import record
from store_api.blobs.places import find
from store_api.store import Store
from store_api.transfer.bodies import export_bodies, import_bodies
from store_api.transfer.exporting import export_rows
from store_api.transfer.importing import import_rows
from store_api.transfer.tables import ACCOUNT, DIRECTORY, QUEUE

router = APIRouter(route_class=Idempotent, tags=[ADMINISTRATION])

NDJSON: Final = "application/x-ndjson"
FRAMES: Final = "application/vnd.postroom.frames"
MAX_BLOBS: Final = 1000

_ROWS_RESPONSE: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "one JSON object a line; the last says `end`",
        "content": {
            NDJSON: {
                "schema": {"type": "string"},
                "example": '{"format":"postroom-rows","schema":"0009"}\n'
                '{"table":"domain","row":{"id":"…","name":"example.test"}}\n{"end":true,"rows":1}\n',
            }
        },
    }
}
_FRAMES_SCHEMA: Final = {"schema": {"type": "string", "format": "binary"}}


class Imported(BaseModel):
    """How many rows of a table, or octets of messages, were new, and how many were there already."""

    new: int = Field(examples=[117])
    present: int = Field(examples=[0])


class ImportedRows(BaseModel):
    tables: dict[str, Imported] = Field(examples=[{"domain": {"new": 1, "present": 0}}])


class Blobs(Input):
    ids: list[UUID] = Field(min_length=1, max_length=MAX_BLOBS)


@router.get("/export/directory", responses=_ROWS_RESPONSE, response_class=StreamingResponse)
async def get_directory(store: TheStore, actor: Admin) -> StreamingResponse:
    """Domains, accounts with their password hashes, app passwords, tokens, aliases, lists, suppression lists, webhooks,
    statistics and the audit log.
    """
    await _audited(store, actor.name, "export.directory", "directory")
    return StreamingResponse(export_rows(store.database, DIRECTORY), media_type=NDJSON)


@router.get("/export/accounts/{address}", responses=_ROWS_RESPONSE, response_class=StreamingResponse)
async def get_account_rows(store: TheStore, actor: Admin, account: TheAccount) -> StreamingResponse:
    """Mailboxes and messages of an account: uids, modseqs, flags, dates, thread ids, tombstones, ids of blobs."""
    await _audited(store, actor.name, "export.account", account.address, account.domain_id)
    return StreamingResponse(export_rows(store.database, ACCOUNT, account_id=account.id), media_type=NDJSON)


@router.get("/export/queue", responses=_ROWS_RESPONSE, response_class=StreamingResponse)
async def get_queue_rows(store: TheStore, actor: Admin) -> StreamingResponse:
    """Mail that waits to be sent. Imported, it is held until it is released."""
    await _audited(store, actor.name, "export.queue", "queue")
    return StreamingResponse(export_rows(store.database, QUEUE), media_type=NDJSON)


@router.post(
    "/export/blobs",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "frames: a length of 4 octets, big-endian, and the octets",
            "content": {FRAMES: _FRAMES_SCHEMA},
        }
    },
)
async def post_export_blobs(store: TheStore, actor: Admin, wanted: Blobs) -> StreamingResponse:
    """Octets of many messages, in the order of the ids, each as a frame."""
    return StreamingResponse(await export_bodies(store.database, store.blobs, wanted.ids), media_type=FRAMES)


@router.get(
    "/export/blobs/{blob_id}",
    response_class=Response,
    responses={200: {"description": "as it came", "content": {"message/rfc822": {}}}},
)
async def get_blob(store: TheStore, actor: Admin, blob_id: UUID) -> Response:
    """The octets of one message."""
    async with store.database.transaction() as connection:
        places = await find(connection, [blob_id])
    if blob_id not in places:
        raise Refusal("not-found", f"there is no blob {blob_id}")
    return await body_response(store.blobs, places[blob_id])


@router.post(
    "/import/blobs",
    responses=problems("unsupported-media-type"),
    openapi_extra={"requestBody": {"required": True, "content": {FRAMES: _FRAMES_SCHEMA}}},
)
async def post_import_blobs(store: TheStore, actor: Admin, request: Request) -> Imported:
    """Store octets under their ids: a frame with the JSON list of ids, then a frame for each. Import them before the
    rows of messages that refer to them; what nothing refers to is collected after a while.
    """
    _require_type(request, FRAMES)
    length = int(request.headers["content-length"])
    async with store.blobs.receiving.take(2 * length):
        body = await read_bounded(request, length)
        new, present = await import_bodies(store.database, store.blobs, body)
    return Imported(new=new, present=present)


@router.post(
    "/import/rows",
    responses=problems("unsupported-media-type"),
    openapi_extra={
        "requestBody": {"required": True, "content": {NDJSON: {"schema": {"type": "string"}}}},
    },
)
async def post_import_rows(store: TheStore, actor: Admin, request: Request) -> ImportedRows:
    """Rows of exports, with their ids; all of a request or none. Rows that are there already stay as they are."""
    _require_type(request, NDJSON)
    body = await read_bounded(request, MAX_ROWS_OCTETS)
    async with store.database.transaction() as connection:
        done = await import_rows(connection, body)
        counts = {table: new for table, (new, _) in done.items()}
        await record(connection, actor.name, "import.rows", "system", None, **counts)
    await store.notifier.directory_changed()
    await store.notifier.untold()
    return ImportedRows(tables={table: Imported(new=new, present=old) for table, (new, old) in done.items()})


def _require_type(request: Request, wanted: str) -> None:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != wanted:
        raise Refusal("unsupported-media-type", f"send {wanted}")


async def _audited(store: Store, actor: str, action: str, object: str, domain_id: UUID | None = None) -> None:
    async with store.database.transaction() as connection:
        await record(connection, actor, action, object, domain_id)
