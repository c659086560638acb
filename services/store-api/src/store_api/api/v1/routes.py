"""The public REST API."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from mail_proto.message.text import searchable
from store_api.accounts.accounts import create_account, find_account, list_accounts
from store_api.api.access import TheStore, require_admin
from store_api.api.problems import PROBLEMS
from store_api.api.v1 import models
from store_api.directory.domains import create_domain, list_domains
from store_api.mailboxes.mailboxes import list_mailboxes
from store_api.messages.contents import places, read
from store_api.messages.listing import list_messages, read_message
from store_api.queue.listing import list_deliveries

router = APIRouter(prefix="/v1", dependencies=[Depends(require_admin)], responses=PROBLEMS)

Limit = Annotated[int, Query(ge=1, le=1000, description="how many items at most")]


def _account(row: Any) -> models.Account:
    return models.Account(id=row.id, address=row.address, state=row.state, created_at=row.created_at)


@router.post("/domains", status_code=201, tags=["directory"])
async def post_domain(store: TheStore, new: models.NewDomain) -> models.Domain:
    """Create a domain whose mail is kept here."""
    await create_domain(store.database, new.name)
    return models.Domain(name=new.name.lower())


@router.get("/domains", tags=["directory"])
async def get_domains(store: TheStore) -> models.Domains:
    """All domains, by name."""
    return models.Domains(items=[models.Domain(name=name) for name in await list_domains(store.database)])


@router.post("/accounts", status_code=201, tags=["directory"])
async def post_account(store: TheStore, new: models.NewAccount) -> models.Account:
    """Create an account with its first mailboxes. Its domain must exist."""
    await create_account(store.database, store.passwords, new.address, new.password)
    return _account(await find_account(store.database, new.address))


@router.get("/accounts", tags=["directory"])
async def get_accounts(store: TheStore, limit: Limit = 100, cursor: str = "") -> models.Accounts:
    """Accounts by address."""
    rows = await list_accounts(store.database, cursor, limit)
    following = rows[-1].address if len(rows) == limit else None
    return models.Accounts(items=[_account(row) for row in rows], next_cursor=following)


@router.get("/accounts/{address}", tags=["directory"])
async def get_account(store: TheStore, address: str) -> models.Account:
    """One account."""
    return _account(await find_account(store.database, address))


@router.get("/accounts/{address}/mailboxes", tags=["messages"])
async def get_mailboxes(store: TheStore, address: str) -> models.Mailboxes:
    """The mailboxes of an account, INBOX first."""
    account = await find_account(store.database, address)
    found = await list_mailboxes(store.database, account.id)
    return models.Mailboxes(items=[models.Mailbox.model_validate(mailbox, from_attributes=True) for mailbox in found])


@router.get("/accounts/{address}/mailboxes/{mailbox_id}/messages", tags=["messages"])
async def get_messages(
    store: TheStore, address: str, mailbox_id: UUID, limit: Limit = 50, cursor: int | None = None
) -> models.Messages:
    """Messages of a mailbox, newest first."""
    account = await find_account(store.database, address)
    found = await list_messages(store.database, account.id, mailbox_id, cursor, limit)
    following = str(found[-1].uid) if len(found) == limit else None
    return models.Messages(items=[models.Message.of(message) for message in found], next_cursor=following)


@router.get("/accounts/{address}/messages/{message_id}", tags=["messages"])
async def get_message(store: TheStore, address: str, message_id: UUID) -> models.ReadMessage:
    """One message, decoded."""
    account = await find_account(store.database, address)
    found = await read_message(store.database, account.id, message_id)
    place = (await places(store.database, account.id, [found.blob_id]))[0]
    text = await run_in_threadpool(searchable, await read(store.blobs, place), found.summary.root)
    return models.ReadMessage(**models.Message.of(found).model_dump(), text=text)


@router.get(
    "/accounts/{address}/messages/{message_id}/raw",
    tags=["messages"],
    response_class=Response,
    responses={200: {"content": {"message/rfc822": {}}}},
)
async def get_raw_message(store: TheStore, address: str, message_id: UUID) -> Response:
    """The message, octet for octet."""
    account = await find_account(store.database, address)
    found = await read_message(store.database, account.id, message_id)
    place = (await places(store.database, account.id, [found.blob_id]))[0]
    return Response(await read(store.blobs, place), media_type="message/rfc822")


@router.get("/queue", tags=["queue"])
async def get_queue(
    store: TheStore,
    state: Literal["queued", "delivered", "failed"] | None = None,
    limit: Limit = 100,
    cursor: UUID | None = None,
) -> models.Deliveries:
    """Deliveries to other servers, newest first."""
    rows = await list_deliveries(store.database, state, cursor, limit)
    following = str(rows[-1].id) if len(rows) == limit else None
    return models.Deliveries(
        items=[models.Delivery.model_validate(row, from_attributes=True) for row in rows],
        next_cursor=following,
    )
