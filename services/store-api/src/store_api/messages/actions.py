"""What is done with messages of one mailbox by their ids: one transaction each, all or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import Conflict, Refused
from mail_runtime.contracts.store import Expunge, StoreFlags
from store_api.db.engine import Database, run
from store_api.events.notifier import Notifier
from store_api.mailboxes.changing import changing
from store_api.mailboxes.flags import store_flags_locked
from store_api.mailboxes.moving import copy_locked, expunge_locked
from store_api.mailboxes.rows import lock
from store_api.messages.finding import Found, find_uids

TRASH: Final = "\\Trash"


class ChangedMeanwhile(Conflict):
    """The message isn't at the modseq that the caller has seen."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Messages of a mailbox by id. `modseqs`: what the caller has seen them at, where it matters (If-Match)."""

    account_id: UUID
    mailbox_id: UUID
    ids: Sequence[UUID]
    modseqs: frozenset[int] | None = None


async def _found(connection: AsyncConnection, selection: Selection) -> Found:
    found = await find_uids(connection, selection.account_id, selection.mailbox_id, selection.ids)
    if selection.modseqs is not None and not selection.modseqs.issuperset(found.modseqs):
        raise ChangedMeanwhile("the message has changed meanwhile")
    return found


async def change_flags(
    database: Database,
    notifier: Notifier,
    selection: Selection,
    *,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
    replace: Sequence[str] | None = None,
) -> Found:
    """Raises NotFound: the mailbox. Refused: not a flag, or too many. ChangedMeanwhile."""
    changes: tuple[tuple[Literal["replace", "remove", "add"], Sequence[str] | None], ...]
    changes = (("replace", replace), ("remove", remove or None), ("add", add or None))
    async with changing(database, notifier) as (connection, changed):
        mailbox = (await lock(connection, selection.account_id, [selection.mailbox_id]))[selection.mailbox_id]
        found = await _found(connection, selection)
        before = mailbox.highest_modseq
        for operation, flags in changes:
            if flags is None or not found.uids:
                continue
            change = StoreFlags(uids=found.uids, operation=operation, flags=list(flags))
            stored = await store_flags_locked(connection, selection.account_id, mailbox, change)
            mailbox = msgspec.structs.replace(mailbox, highest_modseq=stored.modseq)
        if mailbox.highest_modseq != before:
            changed.note(selection.account_id, mailbox.id, mailbox.highest_modseq)
    return found


async def copy_or_move(
    database: Database, notifier: Notifier, selection: Selection, target_id: UUID, *, move: bool
) -> Found:
    """Raises NotFound: a mailbox. OverQuota. ChangedMeanwhile."""
    async with changing(database, notifier) as (connection, changed):
        both = await lock(connection, selection.account_id, list({selection.mailbox_id, target_id}))
        source, target = both[selection.mailbox_id], both[target_id]
        found = await _found(connection, selection)
        if found.uids:
            await copy_locked(connection, selection.account_id, source, target, found.uids, move=move)
            changed.note(selection.account_id, target.id, target.highest_modseq + 1)
            if move:
                before = target.highest_modseq + 1 if source.id == target.id else source.highest_modseq
                changed.note(selection.account_id, source.id, before + 1)
    return found


async def delete(database: Database, notifier: Notifier, selection: Selection, *, permanently: bool) -> Found:
    """Into the Trash, or away: from the Trash itself, or if `permanently`; within the undelete window it comes back.

    Raises NotFound: the mailbox. Refused: there is no Trash. ChangedMeanwhile.
    """
    if not permanently:
        trash_id = await _trash(database, selection.account_id)
        if trash_id is None:
            raise Refused("the account has no mailbox for deleted messages: delete it permanently")
        if trash_id != selection.mailbox_id:
            return await copy_or_move(database, notifier, selection, trash_id, move=True)
    async with changing(database, notifier) as (connection, changed):
        mailbox = (await lock(connection, selection.account_id, [selection.mailbox_id]))[selection.mailbox_id]
        found = await _found(connection, selection)
        if found.uids:
            wanted = Expunge(uids=found.uids, force=True)
            gone = await expunge_locked(connection, selection.account_id, mailbox.id, mailbox.highest_modseq, wanted)
            changed.note(selection.account_id, mailbox.id, gone.modseq)
    return found


async def _trash(database: Database, account_id: UUID) -> UUID | None:
    async with database.transaction() as connection:
        found = await run(
            connection,
            "SELECT id FROM mailbox WHERE account_id = :account_id AND special_use = :use ORDER BY id LIMIT 1",
            account_id=account_id,
            use=TRASH,
        )
        trash_id: UUID | None = found.scalar()
    return trash_id
