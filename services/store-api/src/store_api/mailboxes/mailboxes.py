"""Mailboxes of an account: list, create, delete, subscribe (RFC 9051 §6.3); those of others as its rights allow.

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
from mail_runtime.contracts.store.sharing import is_elsewhere
from store_api.audit.audit import record_of_account
from store_api.db.engine import Database, run
from store_api.db.ids import uuid7
from store_api.events.notifier import Notifier
from store_api.mailboxes.changing import changing, lock_list
from store_api.mailboxes.elsewhere import list_elsewhere, place_for, subscribe_elsewhere, subscriptions_elsewhere
from store_api.mailboxes.moving import expunge_locked
from store_api.mailboxes.names import INBOX, canonical, checked_use, superiors
from store_api.mailboxes.reaching import hold, owner_of, reach
from store_api.mailboxes.rights import Right
from store_api.mailboxes.rows import COLUMNS, to_mailbox

# Ours: listing them all stays quick.
MAX_MAILBOXES: Final = 5000


async def list_mailboxes(database: Database, account_id: UUID, *, elsewhere: bool = False) -> list[Mailbox]:
    """All of the account, INBOX first, then by name; `elsewhere`: and those of others that it may know of.

    An own mailbox hides another's of the same name, which it may have had before there were others'.
    """
    async with database.transaction() as connection:
        rows = await run(
            connection,
            f"SELECT {COLUMNS} FROM mailbox WHERE account_id = :account_id"
            " ORDER BY name <> 'INBOX', name COLLATE \"C\"",
            account_id=account_id,
        )
        found = [to_mailbox(row) for row in rows]
        if elsewhere:
            names = {mailbox.name for mailbox in found}
            found += [one for one in await list_elsewhere(connection, account_id) if one.name not in names]
        return found


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


async def create_mailbox(
    database: Database, notifier: Notifier, account_id: UUID, wanted: CreateMailbox, *, actor: str = ""
) -> Mailbox:
    """Create it and its missing superiors; `actor`, if any, is named in the audit log.

    Raises Conflict: the name exists, or another mailbox has that special use.
    Refused: a bad name or use, or too many mailboxes. NotFound: no account. NotPermitted: it would be another's.
    """
    name, use = canonical(wanted.name), checked_use(wanted.special_use)
    if is_elsewhere(name):
        return await _create_elsewhere(database, notifier, account_id, name, use, actor)
    async with changing(database, notifier) as (connection, changed):
        await lock_list(connection, account_id)
        known = await run(connection, "SELECT 1 FROM account WHERE id = :id", id=account_id)
        if known.scalar() is None:
            raise NotFound("there is no such account")
        if use is not None:
            await require_free_use(connection, account_id, use)
        mailbox_id = await create_locked(connection, account_id, name, use, subscribed=wanted.subscribed)
        if actor:
            await record_of_account(connection, actor, "mailbox.create", account_id, mailbox=name)
        changed.lists.add(account_id)
        return await read_mailbox(connection, account_id, mailbox_id)


async def _create_elsewhere(
    database: Database, notifier: Notifier, account_id: UUID, name: str, use: str | None, actor: str
) -> Mailbox:
    """In the account of another, whose it will be. Raises as `create_mailbox`."""
    if use is not None:
        raise Refused("only the owner says what a mailbox is for")
    async with changing(database, notifier) as (connection, changed):
        place = await place_for(connection, account_id, name)
        await lock_list(connection, place.owner_id)
        place = await place_for(connection, account_id, name)  # as it is under the lock
        mailbox_id = await create_locked(connection, place.owner_id, place.name)
        if actor:
            await record_of_account(connection, actor, "mailbox.create", place.owner_id, mailbox=place.name)
        changed.lists |= {account_id, place.owner_id}
        reached = await reach(connection, account_id, mailbox_id, Right.CREATE)
        return reached.shown(await read_mailbox(connection, place.owner_id, mailbox_id))


# A new mailbox is shared as the one above it (RFC 4314 §4, CREATE).
_INHERIT: Final = """
INSERT INTO mailbox_right (account_id, mailbox_id, subject_id, is_negative, rights)
SELECT r.account_id, t.id, r.subject_id, r.is_negative, r.rights
FROM unnest(CAST(:ids AS uuid[])) AS t (id)
JOIN mailbox_right r ON r.account_id = :account_id AND r.mailbox_id = (
    SELECT id FROM mailbox
    WHERE account_id = :account_id AND name = ANY (CAST(:above AS text[])) AND id <> ALL (CAST(:ids AS uuid[]))
    ORDER BY length(name) DESC LIMIT 1)
"""


# A name that was subscribed when its mailbox went still is (RFC 9051 §6.3.7).
_CREATE: Final = """
INSERT INTO mailbox (account_id, id, name, special_use, subscribed)
SELECT :account_id, id, name, CASE WHEN name = :name THEN CAST(:use AS text) END,
    :subscribed OR EXISTS (SELECT 1 FROM former_mailbox f
                           WHERE f.account_id = :account_id AND f.name = t.name AND f.subscribed)
FROM unnest(CAST(:ids AS uuid[]), CAST(:names AS text[])) AS t (id, name)
ON CONFLICT (account_id, name) DO NOTHING RETURNING id, name
"""


async def create_locked(
    connection: AsyncConnection, account_id: UUID, name: str, use: str | None = None, *, subscribed: bool = True
) -> UUID:
    """Create a mailbox of a canonical name and its missing superiors under `lock_list`. Raises Conflict, Refused."""
    names = [*superiors(name), name]
    created = await run(
        connection,
        _CREATE,
        account_id=account_id,
        subscribed=subscribed,
        ids=[uuid7() for _ in names],
        names=names,
        name=name,
        use=use,
    )
    new: dict[str, UUID] = {row.name: row.id for row in created}
    if name not in new:
        raise Conflict(f"the mailbox {name} exists already")
    if len(names) > 1:
        await run(connection, _INHERIT, account_id=account_id, ids=list(new.values()), above=names[:-1])
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
    actor: str = "",
) -> None:
    """Delete it with its messages, which can be restored for a while; its inferiors stay (RFC 9051 §6.3.5).

    `check` may forbid it by raising, when it has seen the mailbox. `actor`, if any, is named in the audit log.
    Raises NotFound, NotPermitted. Refused: INBOX.
    """
    async with changing(database, notifier) as (connection, changed):
        deleted_by = account_id
        account_id = await owner_of(connection, account_id, mailbox_id, Right.DELETE_MAILBOX)
        await lock_list(connection, account_id)
        mailbox = (await hold(connection, deleted_by, {mailbox_id: Right.DELETE_MAILBOX}))[mailbox_id].mailbox
        check(mailbox)
        if mailbox.name == INBOX:
            raise Refused("INBOX can't be deleted")
        await expunge_locked(connection, account_id, mailbox_id, mailbox.highest_modseq, Expunge(force=True))
        for sql in (
            "DELETE FROM expunged WHERE account_id = :account_id AND mailbox_id = :id AND blob_id IS NULL",
            "DELETE FROM annotation WHERE account_id = :account_id AND mailbox_id = :id",
            "DELETE FROM indexed_mailbox WHERE account_id = :account_id AND mailbox_id = :id",
            "DELETE FROM changed_block WHERE account_id = :account_id AND mailbox_id = :id",
            "DELETE FROM mailbox WHERE account_id = :account_id AND id = :id",
        ):
            await run(connection, sql, account_id=account_id, id=mailbox_id)
        if actor:
            detail = {"mailbox": mailbox.name, "messages": mailbox.messages}
            await record_of_account(connection, actor, "mailbox.delete", account_id, **detail)
        changed.lists |= {account_id, deleted_by}


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
        names = list(rows.scalars())
        if elsewhere := await subscriptions_elsewhere(connection, account_id):
            seen = {one.name for one in await list_elsewhere(connection, account_id) if "l" in one.rights}
            names += sorted(set(elsewhere) - seen)
        return names


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
        if not is_elsewhere(name):
            raise NotFound("there is no such mailbox")
        await subscribe_elsewhere(connection, account_id, name, subscribed=wanted.subscribed)
        changed.lists.add(account_id)
