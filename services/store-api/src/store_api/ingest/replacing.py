"""REPLACE (RFC 8508): a message comes and another goes, in one transaction."""

from __future__ import annotations

import asyncio
from typing import Final
from uuid import UUID

from mail_runtime.contracts.errors import Conflict, NotFound, OverQuota, TooLarge
from mail_runtime.contracts.store import AppendHeader, Expunge, Replaced
from store_api.blobs import Octets
from store_api.blobs.blobs import Blobs
from store_api.blobs.writing import write
from store_api.db.engine import Database
from store_api.db.ids import uuid7
from store_api.events.notifier import Notifier
from store_api.ingest.commit import PlanChanged, insert
from store_api.ingest.incoming import Incoming, Target, scan
from store_api.ingest.submission import target_of
from store_api.mailboxes.changing import changing
from store_api.mailboxes.moving import expunge_locked
from store_api.mailboxes.quota import lock_room
from store_api.mailboxes.reaching import Held, hold
from store_api.mailboxes.rights import NO_RIGHT, Right, changeable

# RFC 8508 §4.1: what UID STORE +FLAGS (\Deleted) and UID EXPUNGE take.
_REMOVING: Final = Right.DELETE_MESSAGES | Right.EXPUNGE


async def replace_message(
    database: Database,
    blobs: Blobs,
    notifier: Notifier,
    account_id: UUID,
    place: tuple[UUID, int],
    target_id: UUID,
    header: AppendHeader,
    octets: Octets,
    *,
    max_octets: int,
) -> Replaced:
    """Store the message in the target and remove the one at `place` (mailbox, uid), both or neither.

    What goes makes room for what comes. Raises NotFound: a mailbox isn't there. NotPermitted. Conflict: the message is
    gone already. TooLarge, OverQuota, Unavailable. Refused: a bad flag.
    """
    if len(octets) > max_octets:
        raise TooLarge(f"the message is larger than {max_octets} octets")
    source_id, uid = place
    blob_id = uuid7()
    scanned = await asyncio.to_thread(scan, octets, blob_id)
    wanted = target_of(account_id, target_id, header, None)
    body = Incoming(octets, (wanted,), blob_id=blob_id).body
    written = {blob.blob_id: blob for blob in await write(blobs, [body])}
    needed = {source_id: _REMOVING}
    needed[target_id] = needed.get(target_id, NO_RIGHT) | Right.INSERT
    async with changing(database, notifier) as (connection, changed):
        both = await hold(connection, account_id, needed)
        source, target = both[source_id], both[target_id]
        await lock_room(connection, {source.owner_id, target.owner_id})
        highest = source.mailbox.highest_modseq
        gone = await expunge_locked(connection, source.owner_id, source_id, highest, Expunge(uids=[uid], force=True))
        if not gone.uids:
            raise Conflict("the message is gone")
        incoming = Incoming(octets, (_held(wanted, account_id, target),), blob_id=blob_id, scanned=scanned)
        try:
            [[stored]] = await insert(connection, [[incoming]], written)
        except PlanChanged as error:
            if error.gone:
                raise NotFound("there is no such mailbox") from error
            raise OverQuota("the mailbox is full: the account has no room left for this") from error
        changed.note(source.owner_id, source_id, gone.modseq)
        changed.note(target.owner_id, target_id, stored.modseq)
    modseq = stored.modseq if source_id == target_id else gone.modseq
    return Replaced(uid_validity=stored.uid_validity, uid=stored.uid, modseq=modseq)


def _held(wanted: Target, account_id: UUID, target: Held) -> Target:
    """In the mailbox of its owner, with the flags that the account may set there (RFC 4314 §4)."""
    if target.owner_id == account_id:
        return wanted
    flags = tuple(changeable(wanted.flags, target.rights))
    return Target(target.owner_id, wanted.mailbox_id, flags, wanted.internal_date, account_id)
