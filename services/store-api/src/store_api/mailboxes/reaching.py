"""Mailboxes of others (RFC 4314): whether an account may do something in one. All of the store asks here.

An account has those rights that entries for itself and for `anyone` of its domain give, without those that negative
entries for either take. It is told that a mailbox isn't there unless it may do what it wants, or see it (RFC 4314 §6).
Owners have all rights and no entries: what concerns a mailbox of one's own never comes here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import NotFound, NotPermitted
from mail_runtime.contracts.store import Mailbox
from mail_runtime.contracts.store.sharing import PUBLIC, SHARED
from store_api.db.engine import fetch
from store_api.mailboxes.rights import ALL_RIGHTS, NO_RIGHT, Right, letters_of
from store_api.mailboxes.rows import COLUMNS, to_mailbox

# Mailboxes in which the account has any right; both conditions on the domain hold, or neither counts.
REACHABLE: Final = """
SELECT r.account_id AS owner_id, r.mailbox_id, o.address,
       coalesce(d.public_account_id = o.id, FALSE) AS is_public,
       coalesce(bit_or(r.rights) FILTER (WHERE NOT r.is_negative), 0)
       & ~coalesce(bit_or(r.rights) FILTER (WHERE r.is_negative), 0) AS rights
FROM account me
JOIN mailbox_right r ON r.subject_id IN (me.id, me.domain_id)
JOIN account o ON o.id = r.account_id AND o.domain_id = me.domain_id AND o.id <> me.id AND o.deleted_at IS NULL
JOIN domain d ON d.id = o.domain_id
WHERE me.id = :reader_id AND me.deleted_at IS NULL
GROUP BY r.account_id, r.mailbox_id, o.address, o.id, d.public_account_id
"""
_REACH: Final = REACHABLE.replace("GROUP BY", "AND r.mailbox_id = ANY (CAST(:mailbox_ids AS uuid[])) GROUP BY")

_OWN: Final = "account_id = :account_id AND id = ANY (CAST(:ids AS uuid[]))"
# Locks nothing unless all of them are the account's own: others' may have to be locked before.
_LOCK_OWN: Final = f"""
SELECT {COLUMNS} FROM mailbox WHERE {_OWN} AND :number = (SELECT count(*) FROM mailbox WHERE {_OWN})
ORDER BY id FOR UPDATE
"""
_LOCK_ONE: Final = f"SELECT {COLUMNS} FROM mailbox WHERE account_id = :account_id AND id = :id FOR UPDATE"
_LOCK: Final = f"""
SELECT account_id, {COLUMNS} FROM mailbox
WHERE (account_id, id) IN (SELECT * FROM unnest(CAST(:accounts AS uuid[]), CAST(:mailboxes AS uuid[])))
ORDER BY account_id, id FOR UPDATE
"""


@dataclass(frozen=True, slots=True)
class Reached:
    """A mailbox of another, and what the account may do there. `prefix`: what its name begins with for the account."""

    owner_id: UUID
    mailbox_id: UUID
    rights: Right
    prefix: str

    def shown(self, mailbox: Mailbox) -> Mailbox:
        """The mailbox as the account sees it."""
        counters = {} if self.rights & Right.READ else {"messages": 0, "unseen": 0, "octets": 0}
        return msgspec.structs.replace(
            mailbox,
            name=self.prefix + mailbox.name,
            owner_id=self.owner_id,
            rights=letters_of(self.rights),
            special_use=None,  # what it is for the owner
            retention_days=None,
            **counters,
        )


@dataclass(frozen=True, slots=True)
class Held:
    """A locked mailbox. `owner_id`: in whose part of the database it is, whose quota counts, who is notified."""

    owner_id: UUID
    mailbox: Mailbox
    rights: Right = ALL_RIGHTS

    @property
    def id(self) -> UUID:
        return self.mailbox.id


def prefix_of(row: Any) -> str:
    """What names begin with, for others, of the mailboxes of `row.address`."""
    return f"{PUBLIC}/" if row.is_public else f"{SHARED}/{row.address}/"


async def reach(connection: AsyncConnection, account_id: UUID, mailbox_id: UUID, needed: Right) -> Reached:
    """A mailbox that isn't the account's own. Raises NotFound, NotPermitted."""
    return (await reach_all(connection, account_id, {mailbox_id: needed}))[mailbox_id]


async def reach_all(connection: AsyncConnection, account_id: UUID, needed: Mapping[UUID, Right]) -> dict[UUID, Reached]:
    """Mailboxes none of which is the account's own. Raises NotFound, NotPermitted."""
    rows = await fetch(connection, _REACH, reader_id=account_id, mailbox_ids=list(needed))
    found = {row.mailbox_id: _reached(row) for row in rows}
    for mailbox_id, rights in needed.items():
        has = found[mailbox_id].rights if mailbox_id in found else NO_RIGHT
        if rights & ~has:
            if has & Right.LOOKUP:
                raise NotPermitted(f"this takes the rights {letters_of(rights)} on the mailbox")
            raise NotFound("there is no such mailbox")
    return found


def _reached(row: Any) -> Reached:
    return Reached(row.owner_id, row.mailbox_id, Right(row.rights), prefix_of(row))


async def hold(connection: AsyncConnection, account_id: UUID, needed: Mapping[UUID, Right]) -> dict[UUID, Held]:
    """Lock mailboxes in which the account may do this, in the order that everybody does, until the transaction ends.

    Own ones by one statement. Rights can't change while their mailbox is locked. Raises NotFound, NotPermitted.
    """
    ids = list(needed)
    if len(ids) == 1:
        rows = await fetch(connection, _LOCK_ONE, account_id=account_id, id=ids[0])
    else:
        rows = await fetch(connection, _LOCK_OWN, account_id=account_id, ids=ids, number=len(ids))
    if rows:
        return {row.id: Held(account_id, to_mailbox(row)) for row in rows}
    return await _hold_elsewhere(connection, account_id, needed)


async def _hold_elsewhere(
    connection: AsyncConnection, account_id: UUID, needed: Mapping[UUID, Right]
) -> dict[UUID, Held]:
    own = await fetch(connection, f"SELECT id FROM mailbox WHERE {_OWN}", account_id=account_id, ids=list(needed))
    owners = {row.id: account_id for row in own}
    elsewhere = {mailbox_id: rights for mailbox_id, rights in needed.items() if mailbox_id not in owners}
    reached = await reach_all(connection, account_id, elsewhere)
    owners |= {one.mailbox_id: one.owner_id for one in reached.values()}
    rows = await fetch(connection, _LOCK, accounts=list(owners.values()), mailboxes=list(owners))
    if len(rows) < len(owners):
        raise NotFound("there is no such mailbox")
    reached = await reach_all(connection, account_id, elsewhere)  # as it is now that nobody can change it
    return {
        row.id: Held(row.account_id, to_mailbox(row), reached[row.id].rights if row.id in reached else ALL_RIGHTS)
        for row in rows
    }


async def owner_of(connection: AsyncConnection, account_id: UUID, mailbox_id: UUID, needed: Right) -> UUID:
    """Whose mailbox it is: the account's own, or one in which it may do this. Raises NotFound, NotPermitted."""
    own = await fetch(
        connection,
        "SELECT 1 FROM mailbox WHERE account_id = :account_id AND id = :id",
        account_id=account_id,
        id=mailbox_id,
    )
    return account_id if own else (await reach(connection, account_id, mailbox_id, needed)).owner_id
