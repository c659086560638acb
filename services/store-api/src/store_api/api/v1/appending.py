"""Putting a message into a mailbox as it is: what an import does, and IMAP's APPEND (RFC 9051 §6.3.12)."""

from __future__ import annotations

import uuid
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request
from pydantic import AwareDatetime, BaseModel, Field

from mail_runtime.contracts.store import AppendHeader
from store_api.api.access import TheAccount, TheStore
from store_api.api.idempotency import Idempotent
from store_api.api.internal.bodies import read_bounded
from store_api.api.problems import Refusal, problems
from store_api.api.v1.common import MESSAGES
from store_api.ingest.submission import append

router = APIRouter(route_class=Idempotent, prefix="/accounts/{address}", tags=[MESSAGES])

MEDIA_TYPE = "message/rfc822"

Flags = Annotated[
    str, Query(max_length=4000, description="flags and keywords, with a space between", examples=["\\Seen $Forwarded"])
]
ReceivedAt = Annotated[
    AwareDatetime | None, Query(description="INTERNALDATE; now when left out", examples=["2024-02-29T12:30:15Z"])
]
IdempotencyKey = Annotated[
    str | None,
    Header(max_length=255, description="names this message: sent again with the same key, it is stored once"),
]


class AppendedMessage(BaseModel):
    """Where the message is now (RFC 4315 §3)."""

    uid_validity: int = Field(examples=[1790000000])
    uid: int = Field(examples=[17])


@router.post(
    "/mailboxes/{mailbox_id}/messages",
    status_code=201,
    responses=problems("unsupported-media-type", "over-quota", "too-large", "length-required"),
    openapi_extra={
        "requestBody": {"required": True, "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}}
    },
)
async def append_message(
    store: TheStore,
    account: TheAccount,
    mailbox_id: UUID,
    request: Request,
    flags: Flags = "",
    received_at: ReceivedAt = None,
    idempotency_key: IdempotencyKey = None,
) -> AppendedMessage:
    """Store a message as it is, without delivering it: for imports, drafts and copies of what was sent elsewhere."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise Refusal("unsupported-media-type", f"the body is {MEDIA_TYPE}")
    limit = store.settings.max_message_octets
    header = AppendHeader(
        flags=flags.split(),
        internal_date=received_at,
        id=None if idempotency_key is None else uuid.uuid5(account.id, f"{mailbox_id} {idempotency_key}"),
    )
    octets = await read_bounded(request, limit)
    appended = await append(store.coalescer, account.id, mailbox_id, header, octets, max_octets=limit)
    return AppendedMessage(uid_validity=appended.uid_validity, uid=appended.uid)
