"""Accounts: who has mail here."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, Field

from store_api.accounts.accounts import create_account, find_account, list_accounts
from store_api.api.access import Admin, TheAccount, TheStore
from store_api.api.v1.common import DIRECTORY, Input, Limit
from store_api.api.v1.cursors import Cursor

router = APIRouter(tags=[DIRECTORY])


class NewAccount(Input):
    address: str = Field(examples=["alice@example.test"], max_length=320)
    password: str = Field(max_length=1024, repr=False)


class Account(BaseModel):
    id: UUID
    address: str
    state: Literal["active", "disabled"]
    created_at: datetime


class Accounts(BaseModel):
    items: list[Account]
    next_cursor: str | None = None


def _account(row: Any) -> Account:
    return Account(id=row.id, address=row.address, state=row.state, created_at=row.created_at)


@router.post("/accounts", status_code=201)
async def post_account(store: TheStore, actor: Admin, new: NewAccount) -> Account:
    """Create an account with its first mailboxes. Its domain must exist."""
    await create_account(store.database, store.passwords, new.address, new.password)
    return _account(await find_account(store.database, new.address))


@router.get("/accounts")
async def get_accounts(store: TheStore, actor: Admin, limit: Limit = 100, cursor: Cursor = None) -> Accounts:
    """Accounts by address."""
    after = store.cursors.after("accounts", cursor, str) or ""
    rows = await list_accounts(store.database, after, limit + 1)
    rows, following = store.cursors.page("accounts", rows, limit, lambda row: row.address)
    return Accounts(items=[_account(row) for row in rows], next_cursor=following)


@router.get("/accounts/{address}")
async def get_account(store: TheStore, account: TheAccount) -> Account:
    """One account."""
    return _account(await find_account(store.database, account.address))
