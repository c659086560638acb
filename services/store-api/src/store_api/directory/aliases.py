"""Aliases, distribution lists and catch-alls: addresses that lead to other addresses.

A catch-all has the address `@domain`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_proto.addresses import AddressFault, parse_mailbox
from mail_runtime.contracts.errors import Conflict, NotFound, Refused
from store_api.db.engine import run
from store_api.db.ids import uuid7
from store_api.directory.accounts import target_address

# A list of more people belongs to list software, with subscriptions and bounces of its own.
MAX_MEMBERS: Final = 10_000

_COLUMNS: Final = """
a.id, a.domain_id, a.address, a.kind, a.name, a.who_may_post, a.created_at,
(SELECT count(*) FROM alias_target t WHERE t.alias_id = a.id) AS members
"""

_LIST: Final = f"""
SELECT {_COLUMNS} FROM alias a JOIN domain d ON d.id = a.domain_id
WHERE a.address > :after
  AND (CAST(:only AS uuid) IS NULL OR a.domain_id = :only)
  AND (CAST(:domain AS text) IS NULL OR d.name = :domain)
  AND (CAST(:kind AS text) IS NULL OR a.kind = :kind)
  AND (CAST(:member AS text) IS NULL
       OR EXISTS (SELECT FROM alias_target t WHERE t.alias_id = a.id AND t.target = :member))
ORDER BY a.address LIMIT :limit
"""


def alias_address(address: str, kind: str) -> tuple[str, str]:
    """(address as it is kept, its domain). Raises Refused: not of that kind."""
    if kind == "catch_all":
        if not address.startswith("@"):
            raise Refused("a catch-all has the address @domain")
        return address.lower(), address[1:].lower()
    try:
        parsed = parse_mailbox(address)
    except AddressFault as fault:
        raise Refused(f"{address!r} is not an address: {fault}") from fault
    return str(parsed).lower(), parsed.domain


async def hold_domain(connection: AsyncConnection, name: str, only: UUID | None) -> UUID:
    """Lock the domain in which an address is about to be made: of two with one address one comes second.

    Raises Refused: there is no such domain of ours (with the id `only`), or it is another one's second name.
    """
    row = (
        await run(
            connection,
            "SELECT id, alias_of FROM domain WHERE name = :name AND (CAST(:only AS uuid) IS NULL OR id = :only)"
            " FOR NO KEY UPDATE",
            name=name,
            only=only,
        )
    ).one_or_none()
    if row is None:
        raise Refused(f"the domain {name} doesn't exist: create it first")
    if row.alias_of is not None:
        raise Refused(f"the domain {name} is another name of a domain: addresses are made there")
    return UUID(str(row.id))


async def create_alias(
    connection: AsyncConnection, only: UUID | None, address: str, kind: str, name: str, who_may_post: str
) -> UUID:
    """Raises Refused, Conflict: an account or alias has the address."""
    address, domain = alias_address(address, kind)
    domain_id = await hold_domain(connection, domain, only)
    taken = await run(connection, "SELECT 1 FROM account WHERE address = :address", address=address)
    if taken.scalar() is not None:
        raise Conflict(f"{address} is an account")
    created = await run(
        connection,
        "INSERT INTO alias (id, domain_id, address, kind, name, who_may_post)"
        " VALUES (:id, :domain_id, :address, :kind, :name, :who_may_post) ON CONFLICT DO NOTHING RETURNING id",
        id=uuid7(),
        domain_id=domain_id,
        address=address,
        kind=kind,
        name=name,
        who_may_post=who_may_post,
    )
    alias_id: UUID | None = created.scalar()
    if alias_id is None:
        raise Conflict(f"the alias {address} exists already")
    return alias_id


async def list_aliases(
    connection: AsyncConnection,
    only: UUID | None,
    domain: str | None,
    kind: str | None,
    member: str | None,
    after: str,
    limit: int,
) -> list[Any]:
    """Rows by address, after `after`, with that member where given."""
    values = {"only": only, "domain": domain and domain.lower(), "kind": kind, "member": member}
    return list(await run(connection, _LIST, **values, after=after, limit=limit))


async def read_alias(connection: AsyncConnection, address: str, only: UUID | None, *, for_update: bool = False) -> Any:
    """One row. Raises NotFound: also when it isn't of the domain with the id `only`."""
    row = (
        await run(
            connection,
            f"SELECT {_COLUMNS} FROM alias a WHERE a.address = :address"
            " AND (CAST(:only AS uuid) IS NULL OR a.domain_id = :only)" + (" FOR UPDATE OF a" if for_update else ""),
            address=address.lower(),
            only=only,
        )
    ).one_or_none()
    if row is None:
        raise NotFound(f"there is no alias {address}")
    return row


async def change_alias(connection: AsyncConnection, alias: Any, changes: dict[str, Any]) -> None:
    """Set columns of a locked row."""
    if changes:
        columns = ", ".join(f"{column} = :{column}" for column in changes)
        await run(connection, f"UPDATE alias SET {columns} WHERE id = :id", **changes, id=alias.id)


async def delete_alias(connection: AsyncConnection, alias: Any) -> None:
    await run(connection, "DELETE FROM alias WHERE id = :id", id=alias.id)


async def list_members(connection: AsyncConnection, alias: Any, after: str, limit: int) -> list[str]:
    """Addresses in their order, after `after`."""
    found = await run(
        connection,
        "SELECT target FROM alias_target WHERE alias_id = :id AND target > :after ORDER BY target LIMIT :limit",
        id=alias.id,
        after=after,
        limit=limit,
    )
    return list(found.scalars())


async def add_members(connection: AsyncConnection, alias: Any, members: Sequence[str]) -> int:
    """Add to a locked alias; returns how many are new. Raises Refused: not an address, itself, too many."""
    targets = sorted({target_address(member) for member in members})
    if alias.address in (target.lower() for target in targets):
        raise Refused("an alias can't lead to itself")
    added = await run(
        connection,
        "INSERT INTO alias_target (alias_id, target) SELECT :id, unnest(CAST(:targets AS text[]))"
        " ON CONFLICT DO NOTHING",
        id=alias.id,
        targets=targets,
    )
    total = await run(connection, "SELECT count(*) FROM alias_target WHERE alias_id = :id", id=alias.id)
    if total.scalar_one() > MAX_MEMBERS:
        raise Refused(f"an alias has at most {MAX_MEMBERS} members")
    return added.rowcount


async def remove_members(connection: AsyncConnection, alias: Any, members: Sequence[str] | None) -> int:
    """Remove these, or all; returns how many were there."""
    removed = await run(
        connection,
        "DELETE FROM alias_target WHERE alias_id = :id"
        " AND (CAST(:targets AS text[]) IS NULL OR target = ANY (CAST(:targets AS text[])))",
        id=alias.id,
        targets=None if members is None else [target_address(member) for member in members],
    )
    return removed.rowcount


async def members_version(connection: AsyncConnection, alias: Any) -> str:
    """Changes with the members of an alias."""
    found = await run(
        connection,
        "SELECT md5(coalesce(string_agg(target, ' ' ORDER BY target), '')) FROM alias_target WHERE alias_id = :id",
        id=alias.id,
    )
    return str(found.scalar())
