"""Domains that are ours."""

from __future__ import annotations

import re
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import Conflict, NotFound, Refused
from store_api.db.engine import Database, run
from store_api.db.ids import uuid7

# RFC 5321 §4.1.2 Domain, without address literals; U-labels are for later.
_DOMAIN: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*"
)

_COLUMNS: Final = """
d.id, d.name, o.name AS alias_of, d.quota_octets, d.quota_messages, d.account_quota_octets, d.account_quota_messages,
d.trash_days, d.junk_days, p.address AS public_account, d.suppress_bounced, d.suppress_after, d.created_at
"""
_FROM: Final = "FROM domain d LEFT JOIN domain o ON o.id = d.alias_of LEFT JOIN account p ON p.id = d.public_account_id"


def domain_name(name: str) -> str:
    """The name as it is kept. Raises Refused: it is none."""
    name = name.lower()
    if not _DOMAIN.fullmatch(name):
        raise Refused(f"{name!r} is not a domain name")
    return name


async def create_domain(database: Database, name: str) -> UUID:
    """Raises Refused: not a domain name. Conflict: exists."""
    async with database.transaction() as connection:
        return await insert_domain(connection, name)


async def insert_domain(connection: AsyncConnection, name: str) -> UUID:
    """Raises Refused: not a domain name. Conflict: exists."""
    name = domain_name(name)
    row = await run(
        connection,
        "INSERT INTO domain (id, name) VALUES (:id, :name) ON CONFLICT DO NOTHING RETURNING id",
        id=uuid7(),
        name=name,
    )
    identifier: UUID | None = row.scalar()
    if identifier is None:
        raise Conflict(f"the domain {name} exists already")
    return identifier


async def find_domain_id(database: Database, name: str, *, within: UUID | None = None) -> UUID:
    """Its id; of that one only, where given. Raises NotFound."""
    async with database.transaction() as connection:
        row = await run(
            connection,
            "SELECT id FROM domain WHERE name = :name AND (CAST(:within AS uuid) IS NULL OR id = :within)",
            name=name.lower(),
            within=within,
        )
        identifier: UUID | None = row.scalar()
    if identifier is None:
        raise NotFound(f"there is no domain {name}")
    return identifier


async def list_domains(connection: AsyncConnection, only: UUID | None, after: str, limit: int) -> list[Any]:
    """Rows by name, after `after`; only the one with that id where given."""
    return list(
        await run(
            connection,
            f"SELECT {_COLUMNS} {_FROM} WHERE d.name > :after AND (CAST(:only AS uuid) IS NULL OR d.id = :only)"
            " ORDER BY d.name LIMIT :limit",
            after=after,
            only=only,
            limit=limit,
        )
    )


async def read_domain(connection: AsyncConnection, name: str, only: UUID | None, *, for_update: bool = False) -> Any:
    """One row; it counts as missing when it isn't the one with the id `only`. Raises NotFound."""
    row = (
        await run(
            connection,
            f"SELECT {_COLUMNS} {_FROM} WHERE d.name = :name AND (CAST(:only AS uuid) IS NULL OR d.id = :only)"
            + (" FOR NO KEY UPDATE OF d" if for_update else ""),
            name=name.lower(),
            only=only,
        )
    ).one_or_none()
    if row is None:
        raise NotFound(f"there is no domain {name}")
    return row


async def change_domain(connection: AsyncConnection, domain: Any, changes: dict[str, Any]) -> None:
    """Set columns of a locked row; `alias_of` is a name, `public_account` an address. Raises Refused."""
    values = dict(changes)
    if "public_account" in values:
        values["public_account_id"] = await _public_account(connection, domain, values.pop("public_account"))
    if values.get("alias_of") is not None:
        values["alias_of"] = await _principal(connection, domain, values["alias_of"])
    if values:
        columns = ", ".join(f"{column} = :{column}" for column in values)
        await run(connection, f"UPDATE domain SET {columns} WHERE id = :id", **values, id=domain.id)


async def _principal(connection: AsyncConnection, domain: Any, name: str) -> UUID:
    """The id of the domain that `domain` may become another name of. Raises Refused."""
    other = (
        await run(connection, "SELECT id, alias_of FROM domain WHERE name = :name FOR SHARE", name=name.lower())
    ).one_or_none()
    if other is None or other.alias_of is not None or other.id == domain.id:
        raise Refused(f"{name} is no domain that can have other names")
    if await _first_use(connection, domain.id):
        raise Refused(f"{domain.name} has accounts, aliases or other names of its own: remove these first")
    return UUID(str(other.id))


async def _public_account(connection: AsyncConnection, domain: Any, address: str | None) -> UUID | None:
    """Raises Refused: it is no account of the domain."""
    if address is None:
        return None
    found = await run(
        connection,
        "SELECT id FROM account WHERE address = :address AND domain_id = :domain_id AND deleted_at IS NULL",
        address=address.lower(),
        domain_id=domain.id,
    )
    account_id: UUID | None = found.scalar()
    if account_id is None:
        raise Refused(f"{domain.name} has no account {address}")
    return account_id


async def delete_domain(connection: AsyncConnection, domain: Any) -> None:
    """Remove a locked domain. Raises Conflict: it has accounts, aliases or other names."""
    if use := await _first_use(connection, domain.id):
        raise Conflict(f"the domain {domain.name} still has {use}")
    await run(connection, "DELETE FROM domain WHERE id = :id", id=domain.id)


async def _first_use(connection: AsyncConnection, domain_id: UUID) -> str:
    """What keeps a domain from going; empty when nothing does."""
    row = await run(
        connection,
        "SELECT CASE WHEN EXISTS (SELECT FROM account WHERE domain_id = :id AND deleted_at IS NULL) THEN 'accounts'"
        " WHEN EXISTS (SELECT FROM account WHERE domain_id = :id) THEN 'accounts that are being removed: wait a little'"
        " WHEN EXISTS (SELECT FROM alias WHERE domain_id = :id) THEN 'aliases'"
        " WHEN EXISTS (SELECT FROM domain WHERE alias_of = :id) THEN 'other names' ELSE '' END",
        id=domain_id,
    )
    return str(row.scalar())
