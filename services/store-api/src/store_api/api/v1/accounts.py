"""Accounts: who has mail here."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncConnection

from store_api.accounts.accounts import create_account
from store_api.api.access import Actor, DomainAdmin, TheAccount, TheActor, TheStore
from store_api.api.idempotency import Idempotent
from store_api.api.problems import Refusal
from store_api.api.v1.common import DIRECTORY, IfMatch, Input, Limit, Quota, require_match, tagged
from store_api.api.v1.cursors import Cursor
from store_api.audit.audit import record
from store_api.directory.accounts import MAX_FORWARDS, change_account, list_accounts, mark_deleted, read_account

router = APIRouter(route_class=Idempotent, tags=[DIRECTORY])

# What an account may change of itself; the rest is its administrators'.
_OWN: frozenset[str] = frozenset({"display_name", "forward_to", "forward_keeps_copy", "detail_to_mailbox"})

Address = Annotated[str, Field(max_length=320)]
State = Literal["active", "disabled"]


class AccountSettings(Input):
    """What can be changed; what is left out stays."""

    state: State = Field(default_factory=lambda: "active", description="a disabled one can't log in or get mail")
    display_name: str = Field(default_factory=str, max_length=200, examples=["Alice Liddell"])
    quota_octets: Quota = Field(None, description="null: what its domain gives to each account")
    quota_messages: Quota = Field(None, description="null: what its domain gives to each account")
    forward_to: list[Address] = Field(
        default_factory=list, max_length=MAX_FORWARDS, examples=[["alice@elsewhere.test"]]
    )
    forward_keeps_copy: bool = Field(
        default_factory=lambda: True, description="whether forwarded mail stays here too", examples=[True]
    )
    detail_to_mailbox: bool = Field(
        default_factory=bool,
        description="mail for alice+work@ goes into the mailbox `work` when there is one",
        examples=[False],
    )
    sets_quotas: bool = Field(
        default_factory=bool,
        description="may set the quotas of its domain's accounts over IMAP (SETQUOTA)",
        examples=[False],
    )


class NewAccount(AccountSettings):
    address: str = Field(examples=["alice@example.test"], max_length=320)
    password: str = Field(examples=["correct horse battery"], max_length=1024, repr=False)


class Usage(BaseModel):
    """What an account keeps."""

    messages: int = Field(examples=[1204])
    octets: int = Field(examples=[88_112_301])


class Account(BaseModel):
    id: UUID
    address: str = Field(examples=["alice@example.test"])
    state: State
    display_name: str = Field(examples=["Alice Liddell"])
    quota_octets: int | None = Field(examples=[None])
    quota_messages: int | None = Field(examples=[None])
    forward_to: list[str] = Field(examples=[[]])
    forward_keeps_copy: bool
    detail_to_mailbox: bool
    sets_quotas: bool
    created_at: datetime


class AccountWithUsage(Account):
    used: Usage


class Accounts(BaseModel):
    items: list[AccountWithUsage]
    next_cursor: str | None = None


def _account(row: Any) -> Account:
    return Account.model_validate(row, from_attributes=True)


def _with_usage(row: Any) -> AccountWithUsage:
    used = Usage(messages=row.used_messages, octets=row.used_octets)
    return AccountWithUsage(**_account(row).model_dump(), used=used)


async def _shown(connection: AsyncConnection, account_id: UUID, response: Response) -> AccountWithUsage:
    """The account as it is now. Its ETag leaves out what mail changes."""
    row = await read_account(connection, account_id)
    tagged(response, _account(row))
    return _with_usage(row)


@router.post("/accounts", status_code=201)
async def post_account(store: TheStore, actor: DomainAdmin, new: NewAccount, response: Response) -> AccountWithUsage:
    """Create an account with its first mailboxes. Its domain must exist."""
    changes = new.changes()
    address, password = changes.pop("address"), changes.pop("password")
    account_id = await create_account(store.database, store.passwords, address, password, only=actor.domain_id)
    async with store.database.transaction() as connection:
        row = await read_account(connection, account_id, for_update=True)
        await change_account(connection, row, changes)
        await record(connection, actor.name, "account.create", row.address, row.domain_id, **changes)
        created = await _shown(connection, account_id, response)
    await store.notifier.directory_changed()
    response.headers["Location"] = f"/v1/accounts/{created.address}"
    return created


@router.get("/accounts")
async def get_accounts(
    store: TheStore,
    actor: DomainAdmin,
    domain: Annotated[str | None, Query(description="only of this one", max_length=253)] = None,
    state: State | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Accounts:
    """Accounts by address."""
    of = f"accounts {domain} {state}"
    after = store.cursors.after(of, cursor, str) or ""
    async with store.database.transaction() as connection:
        rows = await list_accounts(connection, actor.domain_id, domain, state, after, limit + 1)
    rows, following = store.cursors.page(of, rows, limit, lambda row: row.address)
    return Accounts(items=[_with_usage(row) for row in rows], next_cursor=following)


@router.get("/accounts/{address}")
async def get_account(store: TheStore, account: TheAccount, response: Response) -> AccountWithUsage:
    """One account."""
    async with store.database.transaction() as connection:
        return await _shown(connection, account.id, response)


@router.patch("/accounts/{address}")
async def patch_account(
    store: TheStore,
    actor: TheActor,
    account: TheAccount,
    new: AccountSettings,
    response: Response,
    if_match: IfMatch = None,
) -> AccountWithUsage:
    """Change an account. It may itself change its name, where its mail is forwarded and what `+detail` does."""
    changes = new.changes()
    _require_rights(actor, changes)
    async with store.database.transaction() as connection:
        row = await read_account(connection, account.id, for_update=True)
        require_match(if_match, _account(row))
        await change_account(connection, row, changes)
        await record(connection, actor.name, "account.change", row.address, row.domain_id, **changes)
        changed = await _shown(connection, account.id, response)
    await store.notifier.directory_changed()
    if row.state != changed.state and changed.state == "disabled":
        await store.notifier.account_changed(account.id, "disabled")
    return changed


def _require_rights(actor: Actor, changes: dict[str, Any]) -> None:
    if actor.scope == "account" and (foreign := changes.keys() - _OWN):
        raise Refusal("forbidden", f"an account can't change its own {', '.join(sorted(foreign))}")


@router.delete("/accounts/{address}", status_code=204)
async def delete_account(store: TheStore, actor: DomainAdmin, account: TheAccount, if_match: IfMatch = None) -> None:
    """Remove an account with all its mail. It is gone at once; what it kept is cleared up in the background.

    What it has sent already stays in the queue.
    """
    async with store.database.transaction() as connection:
        row = await read_account(connection, account.id, for_update=True)
        require_match(if_match, _account(row))
        await mark_deleted(connection, row)
        await record(connection, actor.name, "account.delete", row.address, row.domain_id)
    store.removal.wake()
    await store.notifier.directory_changed()
    await store.notifier.account_changed(account.id, "deleted")
