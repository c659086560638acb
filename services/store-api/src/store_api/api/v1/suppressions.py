"""The suppression list of a domain."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from store_api.api.access import DomainAdmin, TheStore
from store_api.api.v1.common import QUEUE, Input, Limit
from store_api.api.v1.cursors import Cursor
from store_api.audit.audit import record
from store_api.directory.accounts import target_address
from store_api.directory.domains import read_domain
from store_api.queue import suppression

router = APIRouter(prefix="/domains/{domain}/suppressions", tags=[QUEUE])


class Reason(Input):
    reason: str = Field(default="", max_length=suppression.MAX_REASON_LENGTH, examples=["asked for no more mail"])


class Suppressed(BaseModel):
    """A recipient to whom this domain sends nothing: what is sent there bounces at once."""

    address: str = Field(examples=["gone@elsewhere.test"])
    reason: str = Field(examples=["bounced: 550 5.1.1 no such user"])
    created_at: datetime


class SuppressionList(BaseModel):
    items: list[Suppressed]
    next_cursor: str | None = None


def _suppressed(row: Any) -> Suppressed:
    return Suppressed.model_validate(row, from_attributes=True)


@router.get("")
async def get_suppressions(
    store: TheStore, actor: DomainAdmin, domain: str, limit: Limit = 100, cursor: Cursor = None
) -> SuppressionList:
    """Recipients on the list, by address."""
    async with store.database.transaction() as connection:
        found = await read_domain(connection, domain, actor.domain_id)
        of = f"suppressions {found.id}"
        after = store.cursors.after(of, cursor, str) or ""
        rows = await suppression.list_suppressed(connection, found.id, after, limit + 1)
    rows, following = store.cursors.page(of, rows, limit, lambda row: row.address)
    return SuppressionList(items=[_suppressed(row) for row in rows], next_cursor=following)


@router.get("/{address}")
async def get_suppression(store: TheStore, actor: DomainAdmin, domain: str, address: str) -> Suppressed:
    """Whether and why a recipient is on the list."""
    async with store.database.transaction() as connection:
        found = await read_domain(connection, domain, actor.domain_id)
        return _suppressed(await suppression.read_suppressed(connection, found.id, address))


@router.put("/{address}", responses={201: {"model": Suppressed, "description": "it is new on the list"}})
async def put_suppression(
    store: TheStore, actor: DomainAdmin, domain: str, address: str, new: Reason, response: Response
) -> Suppressed:
    """Put a recipient on the list."""
    target = target_address(address)
    async with store.database.transaction() as connection:
        found = await read_domain(connection, domain, actor.domain_id)
        if await suppression.put(connection, found.id, target, new.reason):
            response.status_code = 201
        row = await suppression.read_suppressed(connection, found.id, target)
        await record(connection, actor.name, "suppression.put", row.address, found.id, reason=new.reason)
    return _suppressed(row)


@router.delete("/{address}", status_code=204)
async def delete_suppression(store: TheStore, actor: DomainAdmin, domain: str, address: str) -> None:
    """Take a recipient off the list: mail is sent there again."""
    async with store.database.transaction() as connection:
        found = await read_domain(connection, domain, actor.domain_id)
        await suppression.remove(connection, found.id, address)
        await record(connection, actor.name, "suppression.delete", address.lower(), found.id)
