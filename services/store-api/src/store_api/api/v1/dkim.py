"""The DKIM keys of a domain."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from mail_proto.dkim import Algorithm, key_record, record_name
from store_api.api.access import DomainAdmin, TheStore
from store_api.api.idempotency import Idempotent
from store_api.api.v1.common import QUEUE, Input
from store_api.audit.audit import record
from store_api.directory.domains import read_domain
from store_api.dkim import keys

router = APIRouter(prefix="/domains/{domain}/dkim-keys", route_class=Idempotent, tags=[QUEUE])


class NewKey(Input):
    algorithm: Algorithm = Field(default="rsa-sha256", examples=["ed25519-sha256"])
    selector: str | None = Field(
        None, min_length=1, max_length=63, description="none: made of the day and the algorithm", examples=["2026a"]
    )


class DkimKey(BaseModel):
    """A key that mail of the domain is signed with while it is `active`.

    `record` is to be published as TXT at `record_name` before the key is activated.
    """

    selector: str = Field(examples=["20261125-rsa"])
    algorithm: Algorithm
    state: Literal["new", "active", "retired"]
    record_name: str = Field(examples=["20261125-rsa._domainkey.example.test"])
    record: str = Field(examples=["v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="])
    created_at: datetime
    activated_at: datetime | None
    retired_at: datetime | None


class DkimKeys(BaseModel):
    items: list[DkimKey]


def _key(domain: str, row: Any) -> DkimKey:
    return DkimKey(
        selector=row.selector,
        algorithm=row.algorithm,
        state=row.state,
        record_name=record_name(domain, row.selector),
        record=key_record(row.algorithm, row.public_key),
        created_at=row.created_at,
        activated_at=row.activated_at,
        retired_at=row.retired_at,
    )


@router.get("")
async def get_dkim_keys(store: TheStore, actor: DomainAdmin, domain: str) -> DkimKeys:
    """All keys of the domain, by age, with the records that DNS should have."""
    async with store.database.transaction() as connection:
        found = await read_domain(connection, domain, actor.domain_id)
        rows = await keys.list_keys(connection, found.id)
    return DkimKeys(items=[_key(found.name, row) for row in rows])


@router.post("", status_code=201)
async def post_dkim_key(store: TheStore, actor: DomainAdmin, domain: str, new: NewKey, response: Response) -> DkimKey:
    """Make a key. Nothing is signed with it before it is activated."""
    async with store.database.transaction() as connection:
        found = await read_domain(connection, domain, actor.domain_id)
    kind = new.algorithm.partition("-")[0]
    selector = (new.selector or f"{datetime.now(UTC):%Y%m%d}-{kind}").lower()
    await keys.create_key(store.database, store.blobs.keyring, found.id, selector, new.algorithm)
    async with store.database.transaction() as connection:
        row = await keys.read_key(connection, found.id, selector)
        await record(connection, actor.name, "dkim.create", selector, found.id, algorithm=new.algorithm)
    response.headers["Location"] = f"/v1/domains/{found.name}/dkim-keys/{selector}"
    return _key(found.name, row)


@router.get("/{selector}")
async def get_dkim_key(store: TheStore, actor: DomainAdmin, domain: str, selector: str) -> DkimKey:
    """One key with its record."""
    async with store.database.transaction() as connection:
        found = await read_domain(connection, domain, actor.domain_id)
        return _key(found.name, await keys.read_key(connection, found.id, selector))


@router.post("/{selector}/activate")
async def post_dkim_activate(store: TheStore, actor: DomainAdmin, domain: str, selector: str) -> DkimKey:
    """Sign with this key from now on, and no more with others of its algorithm."""
    async with store.database.transaction() as connection:
        found = await read_domain(connection, domain, actor.domain_id)
        await keys.activate(connection, found.id, selector)
        row = await keys.read_key(connection, found.id, selector)
        await record(connection, actor.name, "dkim.activate", row.selector, found.id)
    return _key(found.name, row)


@router.post("/{selector}/retire")
async def post_dkim_retire(store: TheStore, actor: DomainAdmin, domain: str, selector: str) -> DkimKey:
    """Sign with this key no more."""
    async with store.database.transaction() as connection:
        found = await read_domain(connection, domain, actor.domain_id)
        await keys.retire(connection, found.id, selector)
        row = await keys.read_key(connection, found.id, selector)
        await record(connection, actor.name, "dkim.retire", row.selector, found.id)
    return _key(found.name, row)


@router.delete("/{selector}", status_code=204)
async def delete_dkim_key(store: TheStore, actor: DomainAdmin, domain: str, selector: str) -> None:
    """Remove a key that isn't active. Keep its record in DNS for as long as mail that it signed may be under way."""
    async with store.database.transaction() as connection:
        found = await read_domain(connection, domain, actor.domain_id)
        await keys.delete_key(connection, found.id, selector)
        await record(connection, actor.name, "dkim.delete", selector.lower(), found.id)
