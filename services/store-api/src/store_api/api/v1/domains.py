"""Domains whose mail is kept here."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from store_api.api.access import Actor, Admin, DomainAdmin, TheStore
from store_api.api.idempotency import Idempotent
from store_api.api.problems import Refusal
from store_api.api.v1.common import (
    DIRECTORY,
    Days,
    IfMatch,
    Input,
    Limit,
    Quota,
    require_match,
    tagged,
)
from store_api.api.v1.cursors import Cursor
from store_api.audit.audit import record
from store_api.directory.domains import change_domain, delete_domain, insert_domain, list_domains, read_domain

router = APIRouter(route_class=Idempotent, tags=[DIRECTORY])

# What the admin of a domain may change of it; the rest is the system's admin's.
_OWN: frozenset[str] = frozenset({"trash_days", "junk_days", "suppress_bounced", "public_account", "suppress_after"})


class DomainSettings(Input):
    """What can be changed; what is left out stays."""

    alias_of: str | None = Field(
        None, description="another domain of ours: this is one more name of it", examples=["example.test"]
    )
    quota_octets: Quota = Field(None, description="of all its accounts together")
    quota_messages: Quota = Field(None, description="of all its accounts together")
    account_quota_octets: Quota = Field(None, description="of each account that has none of its own")
    account_quota_messages: Quota = Field(None, description="of each account that has none of its own")
    trash_days: Days = Field(None, description="messages leave Trash after so many days")
    junk_days: Days = Field(None, description="messages leave Junk after so many days")
    suppress_bounced: bool = Field(
        default_factory=bool,
        description="recipients that don't exist go to the suppression list at once",
        examples=[True],
    )
    suppress_after: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        3, description="… after so many bounces with no delivery in between; null: not by themselves", examples=[3]
    )
    public_account: str | None = Field(
        None,
        max_length=254,
        description="an account of the domain: its mailboxes are under `Public/` for the others, by their rights",
        examples=["public@example.test"],
    )


class NewDomain(DomainSettings):
    name: str = Field(examples=["example.test"], max_length=253)


class Domain(BaseModel):
    id: UUID
    name: str = Field(examples=["example.test"])
    alias_of: str | None = Field(examples=[None])
    quota_octets: int | None = Field(examples=[None])
    quota_messages: int | None = Field(examples=[None])
    account_quota_octets: int | None = Field(examples=[1_000_000_000])
    account_quota_messages: int | None = Field(examples=[None])
    trash_days: int | None = Field(examples=[30])
    junk_days: int | None = Field(examples=[30])
    suppress_bounced: bool = Field(examples=[False])
    public_account: str | None = Field(examples=[None])
    suppress_after: int | None = Field(examples=[3])
    created_at: datetime


class Domains(BaseModel):
    items: list[Domain]
    next_cursor: str | None = None


def _domain(row: Any) -> Domain:
    return Domain.model_validate(row, from_attributes=True)


@router.post("/domains", status_code=201)
async def post_domain(store: TheStore, actor: Admin, new: NewDomain, response: Response) -> Domain:
    """Create a domain whose mail is kept here."""
    changes = new.changes()
    name = changes.pop("name").lower()
    async with store.database.transaction() as connection:
        domain_id = await insert_domain(connection, name)
        await change_domain(connection, await read_domain(connection, name, None), changes)
        created = _domain(await read_domain(connection, name, None))
        await record(connection, actor.name, "domain.create", name, domain_id, **changes)
    await store.notifier.directory_changed()
    tagged(response, created, f"/v1/domains/{name}")
    return created


@router.get("/domains")
async def get_domains(store: TheStore, actor: DomainAdmin, limit: Limit = 100, cursor: Cursor = None) -> Domains:
    """Domains by name; the admin of a domain sees its own."""
    after = store.cursors.after("domains", cursor, str) or ""
    async with store.database.transaction() as connection:
        rows = await list_domains(connection, actor.domain_id, after, limit + 1)
    rows, following = store.cursors.page("domains", rows, limit, lambda row: row.name)
    return Domains(items=[_domain(row) for row in rows], next_cursor=following)


@router.get("/domains/{domain}")
async def get_domain(store: TheStore, actor: DomainAdmin, domain: str, response: Response) -> Domain:
    """One domain."""
    async with store.database.transaction() as connection:
        found = _domain(await read_domain(connection, domain, actor.domain_id))
    tagged(response, found)
    return found


@router.patch("/domains/{domain}")
async def patch_domain(
    store: TheStore,
    actor: DomainAdmin,
    domain: str,
    new: DomainSettings,
    response: Response,
    if_match: IfMatch = None,
) -> Domain:
    """Change a domain. Its own admin may say how long Trash and Junk are kept, what is suppressed, what is public."""
    changes = new.changes()
    async with store.database.transaction() as connection:
        row = await read_domain(connection, domain, actor.domain_id, for_update=True)
        _require_rights(actor, changes)
        require_match(if_match, _domain(row))
        await change_domain(connection, row, changes)
        changed = _domain(await read_domain(connection, domain, actor.domain_id))
        await record(connection, actor.name, "domain.change", row.name, row.id, **changes)
    await store.notifier.directory_changed()
    tagged(response, changed)
    return changed


def _require_rights(actor: Actor, changes: dict[str, Any]) -> None:
    if actor.scope != "admin" and (foreign := changes.keys() - _OWN):
        raise Refusal("forbidden", f"only an admin token may change {', '.join(sorted(foreign))}")


@router.delete("/domains/{domain}", status_code=204)
async def delete_one_domain(store: TheStore, actor: Admin, domain: str, if_match: IfMatch = None) -> None:
    """Remove a domain that has no accounts, aliases and other names any more."""
    async with store.database.transaction() as connection:
        row = await read_domain(connection, domain, None, for_update=True)
        require_match(if_match, _domain(row))
        await delete_domain(connection, row)
        await record(connection, actor.name, "domain.delete", row.name, row.id)
    await store.notifier.directory_changed()
