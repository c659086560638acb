"""Domains that are ours."""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

from mail_runtime.contracts.errors import Conflict, NotFound, Refused
from store_api.db.engine import Database, run
from store_api.db.ids import uuid7

# RFC 5321 §4.1.2 Domain, without address literals; U-labels are for later.
_DOMAIN: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*"
)


async def create_domain(database: Database, name: str) -> UUID:
    """Raises Refused: not a domain name. Conflict: exists."""
    name = name.lower()
    if not _DOMAIN.fullmatch(name):
        raise Refused(f"{name!r} is not a domain name")
    async with database.transaction() as connection:
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


async def list_domains(database: Database) -> list[str]:
    async with database.transaction() as connection:
        return list((await run(connection, "SELECT name FROM domain ORDER BY name")).scalars())


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
