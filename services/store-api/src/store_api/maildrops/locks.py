"""The lock on an account's maildrop: a lease that the holder's process renews (RFC 1939 §4).

One row per account, kept after the first login: it also remembers when that was, for LOGIN-DELAY (RFC 2449 §6.5).
Owner NULL: nobody has it. Leases are compared with the database's clock only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import Conflict, TooSoon
from mail_runtime.contracts.store import KeepMaildrops, MaildropLock, OpenMaildrop
from store_api.db.engine import Database, run

_TAKE: Final = """
INSERT INTO maildrop_lock AS l (account_id, owner, holder, lease_until, logged_in_at)
VALUES (:account_id, :owner, :holder, now() + make_interval(secs => :lease_s), now())
ON CONFLICT (account_id) DO UPDATE SET owner = excluded.owner, holder = excluded.holder,
    lease_until = excluded.lease_until, logged_in_at = excluded.logged_in_at
WHERE (:owner IS NULL OR l.owner IS NULL OR l.owner = :owner OR l.lease_until < now())
  AND (l.logged_in_at IS NULL OR l.logged_in_at <= now() - make_interval(secs => :delay_s))
RETURNING 1
"""

_IS_HELD: Final = "SELECT owner IS NOT NULL AND lease_until >= now() FROM maildrop_lock WHERE account_id = :account_id"

_KEEP: Final = """
WITH kept AS (
    UPDATE maildrop_lock SET lease_until = now() + make_interval(secs => :lease_s)
    WHERE holder = :holder AND owner = ANY (CAST(:owners AS uuid[]))
    RETURNING owner
)
SELECT array_agg(owner) FROM kept
"""


async def take(connection: AsyncConnection, account_id: UUID, wanted: OpenMaildrop) -> None:
    """Lock, or without `exclusive` only note the login. Raises Conflict: another session has it. TooSoon."""
    if not wanted.exclusive and not wanted.login_delay_s:
        return
    taken = await run(
        connection,
        _TAKE,
        account_id=account_id,
        owner=wanted.owner if wanted.exclusive else None,
        holder=wanted.holder if wanted.exclusive else None,
        lease_s=wanted.lease_s,
        delay_s=float(wanted.login_delay_s),
    )
    if taken.scalar() is not None:
        return
    if wanted.exclusive and (await run(connection, _IS_HELD, account_id=account_id)).scalar():
        raise Conflict("another session has the maildrop open")
    raise TooSoon(f"log in at most every {wanted.login_delay_s} seconds")


async def keep(database: Database, wanted: KeepMaildrops) -> Sequence[UUID]:
    """Renew what a process holds. Returns the owners that have lost their lock."""
    async with database.transaction() as connection:
        renewed = await run(connection, _KEEP, holder=wanted.holder, owners=wanted.owners, lease_s=wanted.lease_s)
        kept = set(renewed.scalar() or ())
    return [owner for owner in wanted.owners if owner not in kept]


async def give_back(connection: AsyncConnection, account_id: UUID, owner: UUID) -> None:
    """Raises Conflict: another session has it by now."""
    given = await run(
        connection,
        "UPDATE maildrop_lock SET owner = NULL, holder = NULL WHERE account_id = :account_id AND owner = :owner"
        " RETURNING 1",
        account_id=account_id,
        owner=owner,
    )
    if given.scalar() is None:
        raise Conflict("another session has the maildrop by now; nothing was removed")


async def lock_for_old(database: Database, account_id: UUID, lock: MaildropLock) -> None:
    """Take or renew, as POP3 services without KeepMaildrops do. Raises Conflict."""
    wanted = OpenMaildrop(owner=lock.owner, holder=lock.owner, lease_s=lock.lease_s)
    async with database.transaction() as connection:
        await take(connection, account_id, wanted)


async def unlock_for_old(database: Database, account_id: UUID, owner: UUID) -> None:
    """Whether or not it was held."""
    async with database.transaction() as connection:
        try:
            await give_back(connection, account_id, owner)
        except Conflict:
            return
