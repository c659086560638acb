"""Directories of tests, written straight into the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from store_api.db.engine import run
from store_api.db.ids import uuid7


async def add_domain(connection: AsyncConnection, name: str, alias_of: UUID | None = None, **columns: Any) -> UUID:
    return await _insert(connection, "domain", name=name, alias_of=alias_of, **columns)


async def add_account(
    connection: AsyncConnection, domain_id: UUID, address: str, mailboxes: Sequence[str] = (), **columns: Any
) -> UUID:
    account_id = await _insert(
        connection, "account", domain_id=domain_id, address=address, password_hash="-", **columns
    )
    for name in ("INBOX", *mailboxes):
        await _insert(connection, "mailbox", account_id=account_id, name=name)
    return account_id


async def add_alias(
    connection: AsyncConnection, domain_id: UUID, address: str, targets: Sequence[str], **columns: Any
) -> UUID:
    alias_id = await _insert(connection, "alias", domain_id=domain_id, address=address, **columns)
    for target in dict.fromkeys(targets):
        await run(
            connection,
            "INSERT INTO alias_target (alias_id, target) VALUES (:alias_id, :target)",
            alias_id=alias_id,
            target=target,
        )
    return alias_id


async def mailbox_of(connection: AsyncConnection, account_id: UUID, name: str = "INBOX") -> UUID:
    rows = await run(
        connection,
        "SELECT id FROM mailbox WHERE account_id = :account_id AND name = :name",
        account_id=account_id,
        name=name,
    )
    found: UUID = rows.scalar_one()
    return found


async def _insert(connection: AsyncConnection, table: str, **columns: Any) -> UUID:
    identifier = uuid7()
    names = ", ".join(columns)
    values = ", ".join(f":{name}" for name in columns)
    await run(connection, f"INSERT INTO {table} (id, {names}) VALUES (:id, {values})", id=identifier, **columns)
    return identifier
