"""Giving and taking rights on a mailbox (RFC 4314 §3): only within the owner's domain."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import Refused
from mail_runtime.contracts.store import AclEntry, SetRights
from mail_runtime.contracts.store.sharing import ANYONE
from store_api.audit.audit import record
from store_api.db.engine import Database, run
from store_api.events.notifier import Changed, Notifier
from store_api.mailboxes.changing import changing
from store_api.mailboxes.reaching import Held, hold, owner_of
from store_api.mailboxes.rights import ALL_RIGHTS, NO_RIGHT, Right, letters_of, parse_rights

# Ours: each of them is looked at when somebody opens the mailbox.
MAX_ENTRIES: Final = 1000

_ENTRIES: Final = """
SELECT coalesce(a.address, :anyone) AS identifier, r.is_negative, r.rights
FROM mailbox_right r
JOIN account o ON o.id = r.account_id
LEFT JOIN account a ON a.id = r.subject_id AND a.deleted_at IS NULL
WHERE r.account_id = :owner_id AND r.mailbox_id = :mailbox_id AND (a.id IS NOT NULL OR r.subject_id = o.domain_id)
ORDER BY r.is_negative, a.address NULLS FIRST
"""

_ENTRY: Final = (
    "account_id = :owner_id AND mailbox_id = :mailbox_id AND subject_id = :subject_id AND is_negative = :is_negative"
)

_SET: Final = """
INSERT INTO mailbox_right (account_id, mailbox_id, subject_id, is_negative, rights)
VALUES (:owner_id, :mailbox_id, :subject_id, :is_negative, :rights)
ON CONFLICT (account_id, mailbox_id, subject_id, is_negative) DO UPDATE SET rights = excluded.rights
"""


async def list_rights(database: Database, account_id: UUID, mailbox_id: UUID) -> list[AclEntry]:
    """Who may do what, the owner first, who may all. Raises NotFound, NotPermitted: without the right `a`."""
    async with database.transaction() as connection:
        owner_id = await owner_of(connection, account_id, mailbox_id, Right.ADMINISTER)
        owner = (await run(connection, "SELECT address FROM account WHERE id = :id", id=owner_id)).scalar_one()
        rows = await run(connection, _ENTRIES, owner_id=owner_id, mailbox_id=mailbox_id, anyone=ANYONE)
        given = [
            AclEntry(identifier=("-" if row.is_negative else "") + row.identifier, rights=letters_of(Right(row.rights)))
            for row in rows
        ]
    return [AclEntry(identifier=owner, rights=letters_of(ALL_RIGHTS)), *given]


async def set_rights(
    database: Database, notifier: Notifier, account_id: UUID, mailbox_id: UUID, change: SetRights, actor: str = ""
) -> AclEntry:
    """The entry as it is now; one without rights is gone. `actor`: who does it, if it isn't the account itself.

    Raises NotFound, NotPermitted: without the right `a`. Refused: no right, too many entries, or an identifier that
    nobody of the owner's domain has, or that is the owner's.
    """
    rights, identifier = parse_rights(change.rights), change.identifier.lower()
    async with changing(database, notifier) as (connection, changed):
        held = (await hold(connection, account_id, {mailbox_id: Right.ADMINISTER}))[mailbox_id]
        subject = await _subject(connection, held.owner_id, identifier.removeprefix("-"))
        entry = {
            "owner_id": held.owner_id,
            "mailbox_id": mailbox_id,
            "subject_id": subject.id,
            "is_negative": identifier.startswith("-"),
        }
        found = (await run(connection, f"SELECT rights FROM mailbox_right WHERE {_ENTRY}", **entry)).scalar()
        now = _combined(Right(found or NO_RIGHT), rights, change.how)
        if now:
            await _check_number(connection, entry)
            await run(connection, _SET, **entry, rights=int(now))
        else:
            await run(connection, f"DELETE FROM mailbox_right WHERE {_ENTRY}", **entry)
        set_now = AclEntry(
            identifier=("-" if entry["is_negative"] else "") + subject.identifier, rights=letters_of(now)
        )
        await _audit(connection, account_id, held, set_now, actor)
        await _note(connection, changed, held, subject)
    return set_now


def _combined(before: Right, rights: Right, how: str) -> Right:
    match how:
        case "add":
            return before | rights
        case "remove":
            return before & ~rights
        case _:
            return rights


_SUBJECT: Final = """
SELECT o.domain_id, a.id, a.address
FROM account o
LEFT JOIN account a ON a.domain_id = o.domain_id AND a.deleted_at IS NULL
    AND a.address = CASE WHEN position('@' in :identifier) > 0 THEN :identifier
                         ELSE :identifier || '@' || split_part(o.address, '@', 2) END
WHERE o.id = :owner_id
"""


class _Subject:
    """Whom an entry is about: an account, or a domain for `anyone`."""

    def __init__(self, row: Any, identifier: str) -> None:
        self.is_anyone = identifier == ANYONE
        self.id: UUID = row.domain_id if self.is_anyone else row.id
        self.identifier: str = ANYONE if self.is_anyone else row.address


async def _subject(connection: AsyncConnection, owner_id: UUID, identifier: str) -> _Subject:
    """Raises Refused. Addresses of other domains are as unknown as those of nobody."""
    row = (await run(connection, _SUBJECT, owner_id=owner_id, identifier=identifier)).one()
    if identifier != ANYONE:
        if row.id is None:
            raise Refused("nobody of this domain has that identifier")
        if row.id == owner_id:
            raise Refused("the owner has all rights, always")
    return _Subject(row, identifier)


async def _check_number(connection: AsyncConnection, entry: dict[str, Any]) -> None:
    others = await run(
        connection,
        "SELECT count(*) FROM mailbox_right WHERE account_id = :owner_id AND mailbox_id = :mailbox_id"
        f" AND NOT ({_ENTRY})",
        **entry,
    )
    if others.scalar_one() >= MAX_ENTRIES:
        raise Refused(f"a mailbox has rights for at most {MAX_ENTRIES} others")


async def _audit(connection: AsyncConnection, account_id: UUID, held: Held, entry: AclEntry, actor: str) -> None:
    row = (
        await run(
            connection,
            "SELECT o.address AS owner, o.domain_id, a.address AS actor FROM account o, account a"
            " WHERE o.id = :owner_id AND a.id = :account_id",
            owner_id=held.owner_id,
            account_id=account_id,
        )
    ).one()
    await record(
        connection,
        actor or f"account {row.actor}",
        "mailbox.share",
        row.owner,
        row.domain_id,
        mailbox=held.mailbox.name,
        identifier=entry.identifier,
        rights=entry.rights,
    )


async def _note(connection: AsyncConnection, changed: Changed, held: Held, subject: _Subject) -> None:
    """Sessions that have it open look again, and find what they may do now; lists of `anyone` are found by asking."""
    changed.note(held.owner_id, held.id, held.mailbox.highest_modseq)
    changed.lists.add(held.owner_id)
    if not subject.is_anyone:
        changed.lists.add(subject.id)
