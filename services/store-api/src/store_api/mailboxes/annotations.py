"""Annotations (RFC 5464): what is below /private belongs to who wrote it, what is below /shared to the mailbox.

The server's own are an account's, below /private; below /shared there is only how to reach its administrators.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import NotPermitted, OverQuota, Refused, TooLarge
from mail_runtime.contracts.store.annotations import MAX_VALUE_OCTETS, FindAnnotations, SetAnnotations
from mail_runtime.contracts.subjects import NOBODY
from store_api.db.engine import Database, run
from store_api.events.notifier import Notifier
from store_api.mailboxes.reaching import Held, hold, owner_of, reach
from store_api.mailboxes.rights import Right

# Ours; RFC 5464 §4.1 wants 10 at least.
MAX_ENTRIES: Final = 100
# Of what an account has written for itself, or shares in its mailboxes.
MAX_OCTETS: Final = 1024 * 1024

SHARED: Final = "/shared/"
ADMIN: Final = "/shared/admin"
# One of these, besides `l` (RFC 5464 §3.3).
_USING: Final = Right.READ | Right.SEEN | Right.WRITE | Right.INSERT | Right.POST

_SOUGHT: Final = """
(entry = ANY (CAST(:entries AS text[])) OR (:below AND EXISTS (
    SELECT 1 FROM unnest(CAST(:entries AS text[])) AS e WHERE starts_with(entry, e || '/'))))
"""
_FIND: Final = f"""
SELECT entry, value FROM annotation
WHERE account_id = :owner_id AND mailbox_id = :mailbox_id AND writer_id IN (:account_id, :nobody) AND {_SOUGHT}
ORDER BY entry
"""
_PLACE: Final = "account_id = :owner_id AND mailbox_id = :mailbox_id AND writer_id = :writer_id"
_SET: Final = """
INSERT INTO annotation (account_id, mailbox_id, writer_id, entry, value)
SELECT :owner_id, :mailbox_id, :writer_id, * FROM unnest(CAST(:entries AS text[]), CAST(:values AS bytea[]))
ON CONFLICT (account_id, mailbox_id, writer_id, entry) DO UPDATE SET value = excluded.value
"""
_REMOVE: Final = f"DELETE FROM annotation WHERE {_PLACE} AND entry = ANY (CAST(:entries AS text[]))"
_COUNT: Final = f"SELECT count(*) FROM annotation WHERE {_PLACE}"
_OCTETS: Final = """
SELECT coalesce(sum(octet_length(value)), 0) FROM annotation
WHERE writer_id = :writer_id AND (:writer_id <> :nobody OR account_id = :owner_id)
"""
_COPY: Final = """
INSERT INTO annotation (account_id, mailbox_id, writer_id, entry, value)
SELECT account_id, :target_id, writer_id, entry, value FROM annotation
WHERE account_id = :account_id AND mailbox_id = :source_id
"""


async def find_annotations(
    database: Database, account_id: UUID, mailbox_id: UUID | None, wanted: FindAnnotations
) -> dict[str, bytes]:
    """Of a mailbox, or of the server. Raises NotFound, NotPermitted: without `l`, and a right to use it."""
    async with database.transaction() as connection:
        owner_id = account_id if mailbox_id is None else await _readable(connection, account_id, mailbox_id)
        rows = await run(
            connection,
            _FIND,
            owner_id=owner_id,
            mailbox_id=mailbox_id or NOBODY,
            account_id=account_id,
            nobody=NOBODY,
            entries=wanted.entries,
            below=wanted.below,
        )
        found = {row.entry: bytes(row.value) for row in rows}
        if mailbox_id is None:
            found |= await _of_administrators(connection, account_id, wanted)
    return found


async def _readable(connection: AsyncConnection, account_id: UUID, mailbox_id: UUID) -> UUID:
    """The mailbox's owner."""
    owner_id = await owner_of(connection, account_id, mailbox_id, Right.LOOKUP)
    if owner_id != account_id:
        _require_use((await reach(connection, account_id, mailbox_id, Right.LOOKUP)).rights)
    return owner_id


def _require_use(rights: Right) -> None:
    if not rights & _USING:
        raise NotPermitted("this takes a right to use the mailbox")


async def _of_administrators(
    connection: AsyncConnection, account_id: UUID, wanted: FindAnnotations
) -> dict[str, bytes]:
    """RFC 5464 §3.2.1.1; postmaster is reached in every domain (RFC 5321 §4.5.1)."""
    if ADMIN not in wanted.entries and not (wanted.below and "/shared" in wanted.entries):
        return {}
    name = await run(
        connection, "SELECT d.name FROM account a JOIN domain d ON d.id = a.domain_id WHERE a.id = :id", id=account_id
    )
    return {ADMIN: f"mailto:postmaster@{name.scalar_one()}".encode()}


async def set_annotations(
    database: Database, notifier: Notifier, account_id: UUID, mailbox_id: UUID | None, wanted: SetAnnotations
) -> None:
    """Set and remove, all or none; sessions that may know hear of it.

    Raises NotFound. NotPermitted: without the rights, without `w` below /shared, or below the server's /shared.
    TooLarge: a value. Refused: too many entries. OverQuota: values altogether.
    """
    if any(value is not None and len(value) > MAX_VALUE_OCTETS for value in wanted.values.values()):
        raise TooLarge(f"a value has at most {MAX_VALUE_OCTETS} octets")
    shared = {entry: value for entry, value in wanted.values.items() if entry.startswith(SHARED)}
    private = {entry: value for entry, value in wanted.values.items() if entry not in shared}
    if any(not entry.startswith("/private/") for entry in private):
        raise Refused("an entry is below /private or /shared")
    if mailbox_id is None and shared:
        raise NotPermitted("these are the administrators'")
    async with database.transaction() as connection:
        owner_id = account_id
        if mailbox_id is not None:
            owner_id = (await _writable(connection, account_id, mailbox_id, shared)).owner_id
        place = {"owner_id": owner_id, "mailbox_id": mailbox_id or NOBODY}
        for writer_id, values in ((account_id, private), (NOBODY, shared)):
            if values:
                await _write(connection, place | {"writer_id": writer_id}, values)
    for reader_id, values in ((account_id, private), (None, shared)):
        if values:
            await notifier.annotations_changed(owner_id, mailbox_id or NOBODY, values, reader_id)


async def _writable(connection: AsyncConnection, account_id: UUID, mailbox_id: UUID, shared: Iterable[str]) -> Held:
    held = (await hold(connection, account_id, {mailbox_id: Right.LOOKUP}))[mailbox_id]
    _require_use(held.rights)
    if any(shared) and not held.rights & Right.WRITE:
        raise NotPermitted("what is shared takes the right w")
    return held


async def _write(connection: AsyncConnection, place: Mapping[str, Any], values: Mapping[str, bytes | None]) -> None:
    removed = [entry for entry, value in values.items() if value is None]
    written = {entry: value for entry, value in values.items() if value is not None}
    await run(connection, _REMOVE, **place, entries=removed)
    if not written:
        return
    await run(connection, _SET, **place, entries=list(written), values=list(written.values()))
    if (await run(connection, _COUNT, **place)).scalar_one() > MAX_ENTRIES:
        raise Refused(f"there are at most {MAX_ENTRIES} entries")
    octets = await run(connection, _OCTETS, writer_id=place["writer_id"], owner_id=place["owner_id"], nobody=NOBODY)
    if octets.scalar_one() > MAX_OCTETS:
        raise OverQuota(f"annotations have at most {MAX_OCTETS} octets altogether")


async def copy_annotations(connection: AsyncConnection, account_id: UUID, source_id: UUID, target_id: UUID) -> None:
    """To a mailbox that has none; INBOX keeps its own when it is renamed (RFC 5464 §4.1)."""
    await run(connection, _COPY, account_id=account_id, source_id=source_id, target_id=target_id)
