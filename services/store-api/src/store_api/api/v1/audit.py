"""The audit log of administrative changes."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from store_api.api.access import DomainAdmin, TheStore
from store_api.api.v1.common import ADMINISTRATION, Limit
from store_api.api.v1.cursors import Cursor
from store_api.audit.listing import list_audit
from store_api.directory.domains import find_domain_id

router = APIRouter(tags=[ADMINISTRATION])


class Change(BaseModel):
    """Who changed what."""

    id: UUID
    at: datetime
    actor: str = Field(examples=["admin"])
    action: str = Field(examples=["account.change"])
    object: str = Field(examples=["alice@example.test"])
    domain: str | None = Field(examples=["example.test"])
    detail: dict[str, Any] = Field(examples=[{"state": "disabled"}])


class Changes(BaseModel):
    items: list[Change]
    next_cursor: str | None = None


@router.get("/audit")
async def get_audit(
    store: TheStore,
    admin: DomainAdmin,
    domain: Annotated[str | None, Query(max_length=253)] = None,
    actor: Annotated[str | None, Query(max_length=500, examples=["admin"])] = None,
    action: Annotated[str | None, Query(max_length=100, examples=["account.change"])] = None,
    object: Annotated[str | None, Query(max_length=500, examples=["alice@example.test"])] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Changes:
    """Administrative changes, newest first; the admin of a domain sees its own."""
    only = admin.domain_id
    if domain is not None:
        only = await find_domain_id(store.database, domain, within=admin.domain_id)
    of = f"audit {only} {actor} {action} {object}"
    before = store.cursors.after(of, cursor, UUID)
    async with store.database.transaction() as connection:
        rows = await list_audit(connection, only, actor, action, object, before, limit + 1)
    rows, following = store.cursors.page(of, rows, limit, lambda row: row.id)
    items = [Change(**{**row._mapping, "detail": json.loads(row.detail)}) for row in rows]
    return Changes(items=items, next_cursor=following)
