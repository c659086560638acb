"""Closing a maildrop: the UPDATE state of POP3, one transaction (RFC 1939 §6)."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from mail_runtime.contracts.errors import NotFound
from mail_runtime.contracts.store import CloseMaildrop, Expunge, StoreFlags
from store_api.db.engine import Database
from store_api.mailboxes.flags import store_flags_locked
from store_api.mailboxes.moving import expunge_locked
from store_api.mailboxes.rows import lock
from store_api.maildrops.locks import give_back

SEEN: Final = "\\Seen"


async def close_maildrop(database: Database, account_id: UUID, wanted: CloseMaildrop) -> int | None:
    """Set \\Seen, remove, give the lock back. Returns the mailbox's new modseq if something changed.

    Raises Conflict: the lock is another session's, nothing was done.
    """
    async with database.transaction() as connection:
        if wanted.owner is not None:
            await give_back(connection, account_id, wanted.owner)
        if not wanted.seen and not wanted.remove:
            return None
        try:
            mailbox = (await lock(connection, account_id, [wanted.mailbox_id]))[wanted.mailbox_id]
        except NotFound:  # removed meanwhile, with all its messages
            return None
        before = mailbox.highest_modseq
        modseq = before
        if wanted.seen:
            change = StoreFlags(uids=wanted.seen, operation="add", flags=[SEEN])
            modseq = (await store_flags_locked(connection, account_id, mailbox, change)).modseq
        if wanted.remove:
            doomed = Expunge(uids=wanted.remove, force=True)
            modseq = (await expunge_locked(connection, account_id, wanted.mailbox_id, modseq, doomed)).modseq
        return modseq if modseq != before else None
