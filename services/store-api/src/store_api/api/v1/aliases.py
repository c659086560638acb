"""Aliases, distribution lists and catch-alls."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from mail_runtime.contracts.errors import NotFound
from store_api.api.access import DomainAdmin, TheStore
from store_api.api.idempotency import Idempotent
from store_api.api.problems import problems
from store_api.api.v1.common import (
    DIRECTORY,
    IfMatch,
    Input,
    Limit,
    require_match,
    require_version,
    tagged,
)
from store_api.api.v1.cursors import Cursor
from store_api.audit.audit import record
from store_api.directory.accounts import target_address
from store_api.directory.aliases import (
    MAX_MEMBERS,
    add_members,
    change_alias,
    create_alias,
    delete_alias,
    list_aliases,
    list_members,
    members_version,
    read_alias,
    remove_members,
)

router = APIRouter(route_class=Idempotent, tags=[DIRECTORY])

AliasKind = Literal["alias", "list", "catch_all"]
WhoMayPost = Literal["anyone", "members", "domain"]
Member = Annotated[str, Field(max_length=320)]


class AliasSettings(Input):
    """What can be changed; what is left out stays."""

    name: str = Field(default_factory=str, max_length=200, examples=["Everyone in sales"])
    who_may_post: WhoMayPost = Field(default_factory=lambda: "anyone", description="of a list: who may write to it")


class NewAlias(AliasSettings):
    """A catch-all has the address `@example.test` and takes what no other address of the domain takes."""

    address: str = Field(examples=["sales@example.test"], max_length=320)
    kind: AliasKind = "alias"
    members: list[Member] = Field(
        min_length=1, max_length=MAX_MEMBERS, examples=[["alice@example.test", "carol@elsewhere.test"]]
    )


class Alias(BaseModel):
    id: UUID
    address: str = Field(examples=["sales@example.test"])
    kind: AliasKind
    name: str = Field(examples=["Everyone in sales"])
    who_may_post: WhoMayPost
    members: int = Field(description="how many", examples=[2])
    created_at: datetime


class Aliases(BaseModel):
    items: list[Alias]
    next_cursor: str | None = None


class NewMembers(Input):
    members: list[Member] = Field(max_length=MAX_MEMBERS, examples=[["alice@example.test"]])


class Members(BaseModel):
    items: list[str] = Field(examples=[["alice@example.test", "carol@elsewhere.test"]])
    next_cursor: str | None = None


def _alias(row: Any) -> Alias:
    return Alias.model_validate(row, from_attributes=True)


@router.post("/aliases", status_code=201)
async def post_alias(store: TheStore, actor: DomainAdmin, new: NewAlias, response: Response) -> Alias:
    """Create an alias, a distribution list, or the catch-all of a domain."""
    async with store.database.transaction() as connection:
        await create_alias(connection, actor.domain_id, new.address, new.kind, new.name, new.who_may_post)
        row = await read_alias(connection, new.address, actor.domain_id, for_update=True)
        await add_members(connection, row, new.members)
        created = _alias(await read_alias(connection, row.address, actor.domain_id))
        await record(
            connection, actor.name, "alias.create", row.address, row.domain_id, kind=new.kind, members=created.members
        )
    await store.notifier.directory_changed()
    tagged(response, created, f"/v1/aliases/{created.address}")
    return created


@router.get("/aliases")
async def get_aliases(
    store: TheStore,
    actor: DomainAdmin,
    domain: Annotated[str | None, Query(description="only of this one", max_length=253)] = None,
    kind: AliasKind | None = None,
    member: Annotated[str | None, Query(description="only those that lead to this address", max_length=320)] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Aliases:
    """Aliases by address."""
    of = f"aliases {domain} {kind} {member}"
    after = store.cursors.after(of, cursor, str) or ""
    member = None if member is None else target_address(member)
    async with store.database.transaction() as connection:
        rows = await list_aliases(connection, actor.domain_id, domain, kind, member, after, limit + 1)
    rows, following = store.cursors.page(of, rows, limit, lambda row: row.address)
    return Aliases(items=[_alias(row) for row in rows], next_cursor=following)


@router.get("/aliases/{address}")
async def get_alias(store: TheStore, actor: DomainAdmin, address: str, response: Response) -> Alias:
    """One alias."""
    async with store.database.transaction() as connection:
        found = _alias(await read_alias(connection, address, actor.domain_id))
    tagged(response, found)
    return found


@router.patch("/aliases/{address}")
async def patch_alias(
    store: TheStore,
    actor: DomainAdmin,
    address: str,
    new: AliasSettings,
    response: Response,
    if_match: IfMatch = None,
) -> Alias:
    """Change what an alias is called and who may write to it."""
    async with store.database.transaction() as connection:
        row = await read_alias(connection, address, actor.domain_id, for_update=True)
        require_match(if_match, _alias(row))
        await change_alias(connection, row, new.changes())
        changed = _alias(await read_alias(connection, address, actor.domain_id))
        await record(connection, actor.name, "alias.change", row.address, row.domain_id, **new.changes())
    await store.notifier.directory_changed()
    tagged(response, changed)
    return changed


@router.delete("/aliases/{address}", status_code=204)
async def delete_one_alias(store: TheStore, actor: DomainAdmin, address: str, if_match: IfMatch = None) -> None:
    """Remove an alias."""
    async with store.database.transaction() as connection:
        row = await read_alias(connection, address, actor.domain_id, for_update=True)
        require_match(if_match, _alias(row))
        await delete_alias(connection, row)
        await record(connection, actor.name, "alias.delete", row.address, row.domain_id)
    await store.notifier.directory_changed()


@router.get("/aliases/{address}/members")
async def get_members(
    store: TheStore,
    actor: DomainAdmin,
    address: str,
    response: Response,
    limit: Limit = 1000,
    cursor: Cursor = None,
) -> Members:
    """The addresses that an alias leads to, in their order."""
    of = f"members {address.lower()}"
    after = store.cursors.after(of, cursor, str) or ""
    async with store.database.transaction() as connection:
        alias = await read_alias(connection, address, actor.domain_id)
        rows = await list_members(connection, alias, after, limit + 1)
        response.headers["ETag"] = f'"{await members_version(connection, alias)}"'
    rows, following = store.cursors.page(of, rows, limit, lambda row: row)
    return Members(items=rows, next_cursor=following)


@router.post("/aliases/{address}/members")
async def post_members(store: TheStore, actor: DomainAdmin, address: str, new: NewMembers) -> Alias:
    """Add addresses; those that are there already stay."""
    async with store.database.transaction() as connection:
        row = await read_alias(connection, address, actor.domain_id, for_update=True)
        added = await add_members(connection, row, new.members)
        await record(connection, actor.name, "alias.add_members", row.address, row.domain_id, members=added)
        changed = _alias(await read_alias(connection, address, actor.domain_id))
    await store.notifier.directory_changed()
    return changed


@router.put("/aliases/{address}/members", responses=problems("precondition-required"))
async def put_members(
    store: TheStore, actor: DomainAdmin, address: str, new: NewMembers, if_match: IfMatch = None
) -> Alias:
    """Replace all members: needs If-Match, so that nobody's addition is lost."""
    require_version(if_match)
    async with store.database.transaction() as connection:
        row = await read_alias(connection, address, actor.domain_id, for_update=True)
        require_match(if_match, f'"{await members_version(connection, row)}"')
        await remove_members(connection, row, None)
        await add_members(connection, row, new.members)
        changed = _alias(await read_alias(connection, address, actor.domain_id))
        await record(
            connection, actor.name, "alias.replace_members", row.address, row.domain_id, members=changed.members
        )
    await store.notifier.directory_changed()
    return changed


@router.delete("/aliases/{address}/members/{member}", status_code=204)
async def delete_member(store: TheStore, actor: DomainAdmin, address: str, member: str) -> None:
    """Take one address out."""
    async with store.database.transaction() as connection:
        row = await read_alias(connection, address, actor.domain_id, for_update=True)
        if not await remove_members(connection, row, [member]):
            raise NotFound(f"{member} is no member of {row.address}")
        await record(connection, actor.name, "alias.remove_member", row.address, row.domain_id, member=member)
    await store.notifier.directory_changed()
