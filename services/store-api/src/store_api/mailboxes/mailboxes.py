"""Mailboxes of an account: list, create, delete, subscribe (RFC 9051 §6.3).

A name that only has inferiors needs no mailbox: it is \\NonExistent. UIDVALIDITY comes from one sequence, so that no
two mailboxes ever have the same one, whatever their names are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import Conflict, NotFound, Refused
from mail_runtime.contracts.store import CreateMailbox, Expunge, Mailbox, Subscribe
from store_api.db.engine import Database, run
from store_api.db.ids import uuid7
from store_api.events.notifier import Notifier
from store_api.mailboxes.changing import changing, lock_list
from store_api.mailboxes.moving import expunge_locked
from store_api.mailboxes.names import INBOX, canonical, checked_use, superiors
from store_api.mailboxes.rows import COLUMNS, lock, to_mailbox

# Ours: listing them all stays quick.
MAX_MAILBOXES: Final = 5000


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


async def create_mailbox(database: Database, notifier: Notifier, account_id: UUID, wanted: CreateMailbox) -> Mailbox:
    """Create it and its missing superiors. Raises Conflict: the name exists, or another mailbox has that special use.

    Refused: a bad name or use, or too many mailboxes. NotFound: no account.
    """
    name, use = canonical(wanted.name), checked_use(wanted.special_use)
    async with changing(database, notifier) as (connection, changed):
        await lock_list(connection, account_id)
        known = await run(connection, "SELECT 1 FROM account WHERE id = :id", id=account_id)
        if known.scalar() is None:
            raise NotFound("there is no such account")
        if use is not None:
            await require_free_use(connection, account_id, use)
        mailbox_id = await create_locked(connection, account_id, name, use)
        changed.lists.add(account_id)
        return await read_mailbox(connection, account_id, mailbox_id)


async def create_locked(connection: AsyncConnection, account_id: UUID, name: str, use: str | None = None) -> UUID:
    """Create a mailbox of a canonical name and its missing superiors under `lock_list`. Raises Conflict, Refused."""
    names = [*superiors(name), name]
    created = await run(
        connection,
        "INSERT INTO mailbox (account_id, id, name, special_use)"
        " SELECT :account_id, id, name, CASE WHEN name = :name THEN CAST(:use AS text) END"
        " FROM unnest(CAST(:ids AS uuid[]), CAST(:names AS text[])) AS t (id, name)"
        " ON CONFLICT (account_id, name) DO NOTHING RETURNING id, name",
        account_id=account_id,
        ids=[uuid7() for _ in names],
        names=names,
        name=name,
        use=use,
    )
    new: dict[str, UUID] = {row.name: row.id for row in created}
    if name not in new:
        raise Conflict(f"the mailbox {name} exists already")
    total = await run(connection, "SELECT count(*) FROM mailbox WHERE account_id = :account_id", account_id=account_id)
    if (total.scalar() or 0) > MAX_MAILBOXES:
        raise Refused(f"an account has at most {MAX_MAILBOXES} mailboxes")
    return new[name]


async def require_free_use(connection: AsyncConnection, account_id: UUID, use: str) -> None:
    """Raises Conflict: a mailbox of the account has that special use; clients would have to guess (RFC 6154 §3)."""
    holder = await run(
        connection,
        "SELECT name FROM mailbox WHERE account_id = :account_id AND special_use = :use LIMIT 1",
        account_id=account_id,
        use=use,
    )
    if (name := holder.scalar()) is not None:
        raise Conflict(f"{name} is the mailbox for {use}")


async def delete_mailbox(
    database: Database,
    notifier: Notifier,
    account_id: UUID,
    mailbox_id: UUID,
    *,
    check: Callable[[Mailbox], None] = lambda _: None,
) -> None:
    """Delete it with its messages, which can be restored for a while; its inferiors stay (RFC 9051 §6.3.5).

    `check` may forbid it by raising, when it has seen the mailbox. Raises NotFound. Refused: INBOX.
    """
    async with changing(database, notifier) as (connection, changed):
        await lock_list(connection, account_id)
        mailbox = (await lock(connection, account_id, [mailbox_id]))[mailbox_id]
        check(mailbox)
        if mailbox.name == INBOX:
            raise Refused("INBOX can't be deleted")
        await expunge_locked(connection, account_id, mailbox_id, mailbox.highest_modseq, Expunge(force=True))
        for sql in (
            "DELETE FROM expunged WHERE account_id = :account_id AND mailbox_id = :id AND blob_id IS NULL",
            "DELETE FROM mailbox WHERE account_id = :account_id AND id = :id",
        ):
            await run(connection, sql, account_id=account_id, id=mailbox_id)
        changed.lists.add(account_id)


async def list_former_subscriptions(database: Database, account_id: UUID) -> list[str]:
    """Names that are subscribed though their mailbox is gone (RFC 9051 §6.3.7), sorted."""
    async with database.transaction() as connection:
        rows = await run(
            connection,
            "SELECT name FROM former_mailbox f WHERE account_id = :account_id AND subscribed AND NOT EXISTS"
            " (SELECT 1 FROM mailbox m WHERE m.account_id = f.account_id AND m.name = f.name)"
            ' ORDER BY name COLLATE "C"',
            account_id=account_id,
        )
        return list(rows.scalars())


_SUBSCRIBE: Final = """
UPDATE {table} SET subscribed = :subscribed WHERE account_id = :account_id AND name = :name RETURNING 1
"""


async def subscribe(database: Database, notifier: Notifier, account_id: UUID, wanted: Subscribe) -> None:
    """Subscribe or unsubscribe a name; one whose mailbox is gone can only be given up.

    Raises NotFound: there is no such mailbox, or no such subscription.
    """
    name = canonical(wanted.name)
    async with changing(database, notifier) as (connection, changed):
        await lock_list(connection, account_id)
        for table in ("mailbox", "former_mailbox"):
            if table == "former_mailbox" and wanted.subscribed:
                break
            values = {"account_id": account_id, "name": name, "subscribed": wanted.subscribed}
            if (await run(connection, _SUBSCRIBE.format(table=table), **values)).scalar() is not None:
                changed.lists.add(account_id)
                return
        raise NotFound("there is no such mailbox")
