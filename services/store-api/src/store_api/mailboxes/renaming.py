"""Changing what a mailbox is called, what it is for and how long it keeps messages (RFC 9051 §6.3.6, RFC 6154)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import Conflict, NotPermitted, Refused
from mail_runtime.contracts.store import ChangeMailbox, Mailbox
from mail_runtime.contracts.store.sharing import is_elsewhere
from store_api.audit.audit import record_of_account
from store_api.db.engine import Database, run
from store_api.events.notifier import Changed, Notifier
from store_api.mailboxes.annotations import copy_annotations
from store_api.mailboxes.changing import changing, lock_list
from store_api.mailboxes.elsewhere import place_for, refuse_elsewhere
from store_api.mailboxes.mailboxes import create_locked, read_mailbox, require_free_use
from store_api.mailboxes.moving import copy_locked
from store_api.mailboxes.names import INBOX, canonical, checked_use, superiors
from store_api.mailboxes.reaching import owner_of, reach
from store_api.mailboxes.rights import Right
from store_api.mailboxes.rows import lock

# As the domain says; what `ChangeMailbox.retention_days` takes for it.
DOMAINS_RETENTION: Final = -1
MAX_RETENTION_DAYS: Final = 36_500

# NULL leaves a column as it is.
_SET: Final = """
UPDATE mailbox
SET subscribed = coalesce(CAST(:subscribed AS boolean), subscribed),
    special_use = CASE WHEN CAST(:special_use AS text) IS NULL THEN special_use ELSE nullif(:special_use, '') END,
    retention_days = CASE WHEN CAST(:retention_days AS integer) IS NULL THEN retention_days
                          WHEN :retention_days >= 0 THEN :retention_days END
WHERE account_id = :account_id AND id = :id
"""

# A name's UIDVALIDITY never goes back: a mailbox older than the last one of that name gets a new one.
_RENAME: Final = """
UPDATE mailbox m
SET name = :new || substr(m.name, length(:old) + 1),
    uid_validity = CASE WHEN EXISTS (
        SELECT 1 FROM former_mailbox f
        WHERE f.account_id = :account_id AND f.name = :new || substr(m.name, length(:old) + 1)
          AND f.uid_validity > m.uid_validity
    ) THEN nextval('uid_validity') ELSE m.uid_validity END
WHERE m.account_id = :account_id AND (m.name = :old OR starts_with(m.name, :old || '/'))
RETURNING m.name
"""

_CLASHING: Final = """
SELECT n.name FROM mailbox o
JOIN mailbox n ON n.account_id = :account_id AND n.name = :new || substr(o.name, length(:old) + 1)
WHERE o.account_id = :account_id AND (o.name = :old OR starts_with(o.name, :old || '/'))
ORDER BY n.name LIMIT 1
"""


async def change_mailbox(
    database: Database,
    notifier: Notifier,
    account_id: UUID,
    mailbox_id: UUID,
    change: ChangeMailbox,
    *,
    check: Callable[[Mailbox], None] = lambda _: None,
    actor: str = "",
) -> Mailbox:
    """The mailbox as it is now. `check` may forbid it by raising, when it has seen the mailbox as it was. `actor`, if
    any, is named in the audit log.

    Another's mailbox can only be renamed, and stays its owner's (RFC 4314 §4): with `x`, and `k` on its new superior.

    Raises NotFound, NotPermitted. Conflict: the new name exists, or another mailbox has that special use. Refused: a
    bad name, use or number of days; a mailbox below itself; a use for INBOX.
    """
    name = None if change.name is None else canonical(change.name)
    use = checked_use(change.special_use) if change.special_use else None
    days = change.retention_days
    if days is not None and not DOMAINS_RETENTION <= days <= MAX_RETENTION_DAYS:
        raise Refused(f"messages are kept for 0 to {MAX_RETENTION_DAYS} days")
    async with changing(database, notifier) as (connection, changed):
        changed_by = account_id
        account_id = await owner_of(connection, account_id, mailbox_id, Right.DELETE_MAILBOX)
        await lock_list(connection, account_id)
        # Renaming takes inferiors along: hold all of the account's, in the usual order.
        await run(
            connection,
            "SELECT 1 FROM mailbox WHERE account_id = :account_id ORDER BY id FOR UPDATE",
            account_id=account_id,
        )
        mailbox = await read_mailbox(connection, account_id, mailbox_id)
        check(mailbox)
        if changed_by != account_id:
            name = await _name_elsewhere(connection, changed_by, mailbox, account_id, change)
        elif name is not None and name != mailbox.name:
            refuse_elsewhere(name)
        if use is not None and use != mailbox.special_use:
            if mailbox.name == INBOX:
                raise Refused("INBOX has no special use")
            await require_free_use(connection, account_id, use)
        await run(
            connection,
            _SET,
            subscribed=change.subscribed,
            special_use=change.special_use if use is None else use,
            retention_days=days,
            account_id=account_id,
            id=mailbox_id,
        )
        if name is not None and name != mailbox.name:
            await _rename(connection, changed, account_id, mailbox, name)
        if actor:
            await _audit(connection, actor, account_id, mailbox, change)
        changed.lists |= {account_id, changed_by}
        return await read_mailbox(connection, account_id, mailbox_id)


async def _audit(
    connection: AsyncConnection, actor: str, account_id: UUID, mailbox: Mailbox, change: ChangeMailbox
) -> None:
    changes = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not None}
    await record_of_account(connection, actor, "mailbox.change", account_id, mailbox=mailbox.name, **changes)


async def _name_elsewhere(
    connection: AsyncConnection, account_id: UUID, mailbox: Mailbox, owner_id: UUID, change: ChangeMailbox
) -> str:
    """What another's mailbox is to be called there. Raises NotPermitted, NotFound, Refused."""
    await reach(connection, account_id, mailbox.id, Right.DELETE_MAILBOX)  # as it is under the lock
    if change.name is None or (change.subscribed, change.special_use, change.retention_days) != (None, None, None):
        raise NotPermitted("only the owner may change this")
    if mailbox.name == INBOX:
        raise NotPermitted("only the owner may empty INBOX so")
    if not is_elsewhere(name := canonical(change.name)):
        raise Refused("a mailbox stays its owner's; copy the messages")
    place = await place_for(connection, account_id, name)
    if place.owner_id != owner_id:
        raise Refused("a mailbox stays its owner's; copy the messages")
    return place.name


async def _rename(connection: AsyncConnection, changed: Changed, account_id: UUID, mailbox: Mailbox, name: str) -> None:
    if mailbox.name == INBOX:
        await _empty_inbox(connection, changed, account_id, mailbox, name)
        return
    if name.startswith(mailbox.name + "/"):
        raise Refused("a mailbox can't be moved below itself")
    if mailbox.name == name:
        return
    names = {"account_id": account_id, "old": mailbox.name, "new": name}
    clashing = (await run(connection, _CLASHING, **names)).scalar()
    if clashing is not None:
        raise Conflict(f"the mailbox {clashing} exists already")
    if above := superiors(name):
        exists = await run(
            connection,
            "SELECT 1 FROM mailbox WHERE account_id = :account_id AND name = :name",
            account_id=account_id,
            name=above[-1],
        )
        if exists.scalar() is None:
            await create_locked(connection, account_id, above[-1])
    for (renamed,) in await run(connection, _RENAME, **names):
        canonical(renamed)  # the inferiors' names grow too: still within the limits?


async def _empty_inbox(
    connection: AsyncConnection, changed: Changed, account_id: UUID, inbox: Mailbox, name: str
) -> None:
    """Renaming INBOX moves its messages to a new mailbox; its inferiors stay (RFC 9051 §6.3.6)."""
    target_id = await create_locked(connection, account_id, name)
    both = await lock(connection, account_id, [inbox.id, target_id])
    await copy_locked(connection, account_id, both[inbox.id], both[target_id], None, move=True)
    await copy_annotations(connection, account_id, inbox.id, target_id)
    for mailbox_id in (inbox.id, target_id):
        changed.note(account_id, mailbox_id, (await read_mailbox(connection, account_id, mailbox_id)).highest_modseq)
