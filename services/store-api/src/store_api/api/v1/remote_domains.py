"""Domains of others that are tried in a way of their own."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field, model_validator

from mail_proto.addresses import AddressFault, parse_domain
from mail_runtime.contracts.errors import NotFound, Refused
from store_api.api.access import Admin, TheStore
from store_api.api.v1.common import QUEUE, IfMatch, Input, Limit, require_match, tagged
from store_api.api.v1.cursors import Cursor
from store_api.audit.audit import record
from store_api.queue import remote_domains

router = APIRouter(prefix="/remote-domains", tags=[QUEUE])

# A month: longer than any sender waits for the news that a message didn't arrive.
LONGEST_S: Final = 30 * 86_400.0

Seconds = Annotated[float | None, Field(ge=1, le=LONGEST_S, description="null: as everywhere", examples=[900])]


class Trying(Input):
    """How a domain is tried. What is left out is as everywhere."""

    retry_first_s: Seconds = Field(None, description="the pause before the second attempt; it doubles with each")
    retry_longest_s: Seconds = Field(None, description="pauses grow no longer than this")
    lifetime_s: Seconds = Field(None, description="then it is given up, with a bounce; for mail queued from now on")
    delay_notice_s: Seconds = Field(
        None, description="then the sender is told of the delay; for mail queued from now on"
    )
    defer_permanent: bool = Field(
        default_factory=bool, description="try again when the remote says 5xx", examples=[False]
    )

    @model_validator(mode="after")
    def _in_order(self) -> Trying:
        if self.retry_first_s and self.retry_longest_s and self.retry_first_s > self.retry_longest_s:
            raise ValueError("retry_first_s is at most retry_longest_s")
        return self


class RemoteDomain(BaseModel):
    name: str = Field(examples=["slow.example"])
    retry_first_s: float | None = Field(examples=[900])
    retry_longest_s: float | None = Field(examples=[None])
    lifetime_s: float | None = Field(examples=[86_400])
    delay_notice_s: float | None = Field(examples=[None])
    defer_permanent: bool
    created_at: datetime


class RemoteDomains(BaseModel):
    items: list[RemoteDomain]
    next_cursor: str | None = None


def _name(text: str) -> str:
    """As deliveries have it. Raises Refused: it is no domain."""
    try:
        return parse_domain(text).lower()
    except AddressFault as fault:
        raise Refused(f"{text!r} is not a domain: {fault}") from fault


def _shown(row: Any) -> RemoteDomain:
    return RemoteDomain.model_validate(row, from_attributes=True)


@router.get("")
async def get_remote_domains(store: TheStore, actor: Admin, limit: Limit = 100, cursor: Cursor = None) -> RemoteDomains:
    """Domains with settings of their own, by name."""
    after = store.cursors.after("remote-domains", cursor, str) or ""
    async with store.database.transaction() as connection:
        rows = await remote_domains.list_remote_domains(connection, after, limit + 1)
    rows, following = store.cursors.page("remote-domains", rows, limit, lambda row: row.name)
    return RemoteDomains(items=[_shown(row) for row in rows], next_cursor=following)


@router.get("/{name}")
async def get_remote_domain(store: TheStore, actor: Admin, name: str, response: Response) -> RemoteDomain:
    """One domain's settings. 404: it is tried as every domain is."""
    async with store.database.transaction() as connection:
        found = _shown(await remote_domains.read_remote_domain(connection, name))
    tagged(response, found)
    return found


@router.put("/{name}", responses={201: {"model": RemoteDomain, "description": "it had no settings of its own"}})
async def put_remote_domain(
    store: TheStore, actor: Admin, name: str, new: Trying, response: Response, if_match: IfMatch = None
) -> RemoteDomain:
    """Set how a domain is tried, all of it."""
    settings = new.model_dump()
    name = _name(name)
    async with store.database.transaction() as connection:
        if if_match is not None:
            try:
                before = _shown(await remote_domains.read_remote_domain(connection, name, for_update=True))
                require_match(if_match, before)
            except NotFound:
                require_match(if_match, "")
        row = await remote_domains.put_remote_domain(connection, name, settings)
        await record(connection, actor.name, "remote_domain.put", name, None, **new.changes())
    if row.is_new:
        response.status_code = 201
    tagged(response, _shown(row))
    return _shown(row)


@router.delete("/{name}", status_code=204)
async def delete_remote_domain(store: TheStore, actor: Admin, name: str, if_match: IfMatch = None) -> None:
    """Let a domain be tried as every domain is."""
    async with store.database.transaction() as connection:
        row = await remote_domains.read_remote_domain(connection, name, for_update=True)
        require_match(if_match, _shown(row))
        await remote_domains.delete_remote_domain(connection, row.name)
        await record(connection, actor.name, "remote_domain.delete", row.name, None)
