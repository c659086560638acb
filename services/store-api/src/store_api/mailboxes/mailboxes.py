"""Mailboxes of an account: list, create, rename, subscribe, delete (RFC 9051 §6.3)."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import Conflict, NotFound, Refused
from mail_runtime.contracts.store import ChangeMailbox, Mailbox
from store_api.db.engine import Database, run
from store_api.db.ids import uuid7
from store_api.mailboxes.moving import copy_locked
from store_api.mailboxes.names import INBOX, canonical, superiors
from store_api.mailboxes.rows import COLUMNS, lock, to_mailbox


async def list_mailboxes(database: Database, account_id: UUID) -> list[Mailbox]:
    """All of the account, INBOX first, then by name."""
    async with database.transaction() as connection:
        rows = await run(
            connection,
            f"SELECT {COLUMNS} FROM mailbox WHERE account_id = :account_id"
            " ORDER BY name <> 'INBOX', name COLLATE \"C\"",
            account_id=account_id,
        )
        return [to_mailbox(row) for row in rows]


async def read_mailbox(connection: AsyncConnection, account_id: UUID, mailbox_id: UUID) -> Mailbox:
    """Raises NotFound."""
    row = (
        await run(
            connection,
            f"SELECT {COLUMNS} FROM mailbox WHERE account_id = :account_id AND id = :id",
            account_id=account_id,
            id=mailbox_id,
        )
    ).one_or_none()
    if row is None:
        raise NotFound("there is no such mailbox")
    return to_mailbox(row)


async def create_mailbox(database: Database, account_id: UUID, name: str) -> Mailbox:
    """Create it and its missing superiors. Raises Conflict: exists. Refused: bad name. NotFound: no account."""
    name = canonical(name)
    async with database.transaction() as connection:
        known = await run(connection, "SELECT 1 FROM account WHERE id = :id", id=account_id)
        if known.scalar() is None:
            raise NotFound("there is no such account")
        mailbox_id = await _create(connection, account_id, name)
        return await read_mailbox(connection, account_id, mailbox_id)


async def _create(connection: AsyncConnection, account_id: UUID, name: str) -> UUID:
    names = [*superiors(name), name]
    created = await run(
        connection,
        "INSERT INTO mailbox (account_id, id, name)"
        " SELECT :account_id, id, name FROM unnest(CAST(:ids AS uuid[]), CAST(:names AS text[])) AS t (id, name)"
        " ON CONFLICT (account_id, name) DO NOTHING RETURNING id, name",
        account_id=account_id,
        ids=[uuid7() for _ in names],
        names=names,
    )
    new: dict[str, UUID] = {row.name: row.id for row in created}
    if name not in new:
        raise Conflict(f"the mailbox {name} exists already")
    return new[name]


async def change_mailbox(
    database: Database, account_id: UUID, mailbox_id: UUID, change: ChangeMailbox
) -> tuple[Mailbox, list[Mailbox]]:
    """Returns the mailbox as it is now, and those whose messages changed.

    Raises NotFound; Conflict: the new name exists; Refused: bad name, or below itself.
    """
    async with database.transaction() as connection:
        # Renaming takes inferiors along: hold all of the account's, in the usual order.
        await run(
            connection,
            "SELECT 1 FROM mailbox WHERE account_id = :account_id ORDER BY id FOR UPDATE",
            account_id=account_id,
        )
        mailbox = await read_mailbox(connection, account_id, mailbox_id)
        changed: list[Mailbox] = []
        if change.subscribed is not None:
            await run(
                connection,
                "UPDATE mailbox SET subscribed = :subscribed WHERE account_id = :account_id AND id = :id",
                subscribed=change.subscribed,
                account_id=account_id,
                id=mailbox_id,
            )
        if change.name is not None:
            changed = await _rename(connection, account_id, mailbox, canonical(change.name))
        return await read_mailbox(connection, account_id, mailbox_id), changed


async def _rename(connection: AsyncConnection, account_id: UUID, mailbox: Mailbox, name: str) -> list[Mailbox]:
    """Returns mailboxes whose messages changed: renaming INBOX moves them out of it (RFC 9051 §6.3.6)."""
    if mailbox.name == INBOX:
        target_id = await _create(connection, account_id, name)
        both = await lock(connection, account_id, [mailbox.id, target_id])
        await copy_locked(connection, account_id, both[mailbox.id], both[target_id], None, move=True)
        return [
            await read_mailbox(connection, account_id, mailbox.id),
            await read_mailbox(connection, account_id, target_id),
        ]
    if (name + "/").startswith(mailbox.name + "/") and name != mailbox.name:
        raise Refused("a mailbox can't be moved below itself")
    # Creates the superiors too, and finds out whether the name is free.
    placeholder = await _create(connection, account_id, name)
    await run(
        connection,
        "DELETE FROM mailbox WHERE account_id = :account_id AND id = :id",
        account_id=account_id,
        id=placeholder,
    )
    await run(
        connection,
        "UPDATE mailbox SET name = :new || substr(name, length(:old) + 1)"
        " WHERE account_id = :account_id AND (name = :old OR starts_with(name, :old || '/'))",
        account_id=account_id,
        new=name,
        old=mailbox.name,
    )
    return []


async def delete_mailbox(database: Database, account_id: UUID, mailbox_id: UUID) -> None:
    """Raises NotFound. Refused: INBOX, or it has inferiors."""
    async with database.transaction() as connection:
        mailbox = (await lock(connection, account_id, [mailbox_id]))[mailbox_id]
        if mailbox.name == INBOX:
            raise Refused("INBOX can't be deleted")
        inferior = await run(
            connection,
            "SELECT 1 FROM mailbox WHERE account_id = :account_id AND starts_with(name, :prefix) LIMIT 1",
            account_id=account_id,
            prefix=mailbox.name + "/",
        )
        if inferior.scalar() is not None:
            raise Refused("the mailbox has inferiors: delete these first")
        for table, column in (("message", "mailbox_id"), ("expunged", "mailbox_id"), ("mailbox", "id")):
            await run(
                connection,
                f"DELETE FROM {table} WHERE account_id = :account_id AND {column} = :id",
                account_id=account_id,
                id=mailbox_id,
            )
