"""Sending: a message as JSON, or one that is written already."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from mail_proto.message.compose import bcc_field, compose
from mail_proto.message.header_text import HeaderFault
from mail_runtime.contracts.errors import Refused
from store_api.api.access import OwnAccount, TheAccount, TheStore
from store_api.api.idempotency import CreationId, Idempotent
from store_api.api.limits import body_limit
from store_api.api.problems import Refusal, problems
from store_api.api.spool import spooled
from store_api.api.v1.common import MESSAGES
from store_api.api.v1.letter_models import NewMessage, SentMessage
from store_api.blobs import Octets
from store_api.blobs.joining import forget_pages, joined
from store_api.messages.sending import Outgoing, from_raw, send, unique
from store_api.store import Store

router = APIRouter(route_class=Idempotent, prefix="/accounts/{address}", tags=[MESSAGES])

JSON: Final = "application/json"
RAW: Final = "message/rfc822"
# A request in JSON is in memory as it came, and as octets twice while they are decoded; a raw one as it came and as it
# leaves.
_SHARE: Final = {JSON: 3, RAW: 2}

ToWhom = Annotated[
    list[str] | None,
    Query(max_length=1000, description="of a raw message: instead of those in its To, Cc and Bcc"),
]


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """A schema without references, as it stands outside of the document's components."""
    if isinstance(schema, list):
        return [_inlined(one, definitions) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {name: _inlined(one, definitions) for name, one in schema.items() if name != "$defs"}


_SCHEMA: Final = NewMessage.model_json_schema()
_BODY: Final = {
    "required": True,
    "content": {
        JSON: {"schema": _inlined(_SCHEMA, _SCHEMA["$defs"])},
        RAW: {"schema": {"type": "string", "format": "binary"}},
    },
}


@router.post(
    "/send",
    status_code=202,
    responses=problems("unsupported-media-type", "over-quota", "too-large", "length-required"),
    openapi_extra={"requestBody": _BODY},
)
async def post_message(
    store: TheStore,
    account: TheAccount,
    request: Request,
    transmission_id: CreationId,
    recipient: ToWhom = None,
    keep_copy: Annotated[bool, Query(description="put a copy into the mailbox for sent messages")] = True,
) -> SentMessage:
    """Send a message to recipients here and elsewhere.

    The sender must be an address of the account. Bcc is taken out, Date and Message-ID are added where missing.
    With an Idempotency-Key, a message that is sent again goes out once.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _SHARE:
        raise Refusal("unsupported-media-type", f"the body is {JSON} or {RAW}")
    if recipient and kind == JSON:
        raise Refusal("invalid-request", "query.recipient: only with a raw message")
    limit = body_limit(request.url.path, store.settings.max_message_octets)
    length = min(int(request.headers.get("content-length", "0")), limit)
    async with (
        spooled(request, limit, store.blobs.policy.spool) as spool,
        store.blobs.receiving.take(length * _SHARE[kind]),
    ):
        write = _written if kind == JSON else _raw
        outgoing = await run_in_threadpool(write, store, account, transmission_id, spool, recipient or [])
        del spool
        sent = await send(
            store.database,
            store.coalescer,
            account.id,
            outgoing,
            max_octets=store.settings.max_message_octets,
            host=store.settings.hostname,
            keep_copy=keep_copy,
            spool=store.blobs.policy.spool,
        )
    return SentMessage(
        transmission_id=transmission_id,
        message_id=outgoing.message_id,
        recipients=list(outgoing.recipients),
        copy_in=sent.copy_in,
    )


def _raw(store: Store, account: OwnAccount, transmission_id: UUID, body: Octets, recipients: list[str]) -> Outgoing:
    return from_raw(transmission_id, store.settings.hostname, body, recipients, datetime.now(UTC))


def _taken(spool: Octets) -> bytes:
    """What came, in memory once."""
    octets = bytes(spool)
    forget_pages(spool)
    return octets


def _written(store: Store, account: OwnAccount, transmission_id: UUID, body: Octets, recipients: list[str]) -> Outgoing:
    """Raises RequestValidationError, Refused, Unavailable."""
    try:
        new = NewMessage.model_validate_json(_taken(body))
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in errors]) from None
    domain = account.address.rpartition("@")[2]
    message_id = f"{transmission_id.hex}@{domain if domain.isascii() else store.settings.hostname}"
    letter = new.letter(account.address, message_id, secrets.token_hex(12), datetime.now(UTC))
    hidden = new.hidden()
    try:
        octets = joined(compose(letter), store.blobs.policy.spool)
        own_head = bcc_field(hidden)
    except HeaderFault as fault:
        raise Refused(str(fault)) from fault
    recipients = [address for listed in (letter.to, letter.cc, hidden) for _, address in listed]
    return Outgoing(transmission_id, message_id, letter.sender[1], unique(recipients), b"", own_head, octets)
