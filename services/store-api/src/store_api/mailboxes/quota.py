"""Quotas (RFC 9208): how many octets and messages an account may keep, and its domain altogether.

An account's own quota counts, else the one that its domain gives to each account (`account_quota_…`); the domain's
quota (`quota_…`) bounds the sum over its accounts. NULL is unlimited. `account_usage` is kept by triggers on the
counters of mailboxes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import NotFound, OverQuota
from store_api.db.engine import Database, fetch, run


@dataclass(slots=True)
class Share:
    """What one quota has left; None: it doesn't bound this. Below zero when the quota was lowered."""

    octets: int | None = None
    messages: int | None = None

    def has(self, octets: int, messages: int) -> bool:
        """Whether that much more fits. What asks for nothing fits always."""
        fits = self.octets is None or octets <= 0 or octets <= self.octets
        return fits and (self.messages is None or messages <= 0 or messages <= self.messages)

    def use(self, octets: int, messages: int) -> None:
        if self.octets is not None:
            self.octets -= octets
        if self.messages is not None:
            self.messages -= messages


@dataclass(frozen=True, slots=True)
class Room:
    """Room of an account. Accounts of one domain share one `domain`: what one of them takes the others haven't."""

    account: Share = field(default_factory=Share)
    domain: Share = field(default_factory=Share)

    @property
    def octets(self) -> int | None:
        """Octets left; None: unlimited."""
        return _least(self.account.octets, self.domain.octets)

    @property
    def messages(self) -> int | None:
        """Messages left; None: unlimited."""
        return _least(self.account.messages, self.domain.messages)

    def takes(self, octets: int, messages: int = 1) -> bool:
        """Whether that much fits; if so it is taken."""
        if not (self.account.has(octets, messages) and self.domain.has(octets, messages)):
            return False
        self.account.use(octets, messages)
        self.domain.use(octets, messages)
        return True

    def take(self, octets: int, messages: int = 1) -> None:
        """Raises OverQuota: it doesn't fit."""
        if not self.takes(octets, messages):
            raise OverQuota("the mailbox is full: the account has no room left for this")


def _least(*values: int | None) -> int | None:
    return min((value for value in values if value is not None), default=None)


_USAGE: Final = """
WITH locked AS (
    SELECT account_id, octets, messages FROM account_usage
    WHERE account_id = ANY (CAST(:account_ids AS uuid[])) ORDER BY account_id {lock}
)
SELECT a.id, a.domain_id,
       coalesce(a.quota_octets, d.account_quota_octets) - coalesce(l.octets, 0) AS octets,
       coalesce(a.quota_messages, d.account_quota_messages) - coalesce(l.messages, 0) AS messages,
       d.quota_octets IS NOT NULL OR d.quota_messages IS NOT NULL AS domain_is_bounded
FROM account a JOIN domain d ON d.id = a.domain_id LEFT JOIN locked l ON l.account_id = a.id
WHERE a.id = ANY (CAST(:account_ids AS uuid[]))
"""
_READ_USAGE: Final = _USAGE.format(lock="")
# The rows of usage as they are once the lock is had; a later commit can't slip in between.
_LOCK_USAGE: Final = _USAGE.format(lock="FOR NO KEY UPDATE")

_LOCK_DOMAINS: Final = """
SELECT id FROM domain WHERE id = ANY (CAST(:domain_ids AS uuid[])) ORDER BY id FOR NO KEY UPDATE
"""

# A statement of its own: its snapshot has all that those who held the domain before have committed.
_DOMAIN_ROOM: Final = """
SELECT d.id, d.quota_octets - u.octets AS octets, d.quota_messages - u.messages AS messages
FROM domain d
CROSS JOIN LATERAL (
    SELECT coalesce(sum(u.octets), 0) AS octets, coalesce(sum(u.messages), 0) AS messages
    FROM account a JOIN account_usage u ON u.account_id = a.id WHERE a.domain_id = d.id
) u
WHERE d.id = ANY (CAST(:domain_ids AS uuid[]))
"""


async def lock_room(connection: AsyncConnection, account_ids: Iterable[UUID]) -> dict[UUID, Room]:
    """The room of each account that exists, true until the transaction ends.

    Locks their usage, and those domains that have a quota; the mailboxes must be locked before (docs/architecture.md).
    """
    return await _room(connection, account_ids, lock=True)


async def read_room(connection: AsyncConnection, account_ids: Iterable[UUID]) -> dict[UUID, Room]:
    """The room of each account that exists, at this moment: nothing is locked, and it may change at once."""
    return await _room(connection, account_ids, lock=False)


async def _room(connection: AsyncConnection, account_ids: Iterable[UUID], *, lock: bool) -> dict[UUID, Room]:
    ids = sorted(set(account_ids))
    rows = await fetch(connection, _LOCK_USAGE if lock else _READ_USAGE, account_ids=ids)
    bounded = sorted({row.domain_id for row in rows if row.domain_is_bounded})
    domains: dict[UUID, Share] = {}
    if bounded:
        if lock:
            await run(connection, _LOCK_DOMAINS, domain_ids=bounded)
        for row in await run(connection, _DOMAIN_ROOM, domain_ids=bounded):
            domains[row.id] = Share(_whole(row.octets), _whole(row.messages))
    return {row.id: Room(Share(row.octets, row.messages), domains.setdefault(row.domain_id, Share())) for row in rows}


def _whole(number: int | None) -> int | None:
    """PostgreSQL sums bigint as numeric, which arrives as Decimal."""
    return None if number is None else int(number)


@dataclass(frozen=True, slots=True)
class Quota:
    """Usage and limits of an account (RFC 9208 §5.1: STORAGE and MESSAGE); None: unlimited."""

    octets: int
    messages: int
    octets_limit: int | None
    messages_limit: int | None


_QUOTA: Final = """
SELECT coalesce(u.octets, 0) AS octets, coalesce(u.messages, 0) AS messages,
       coalesce(a.quota_octets, d.account_quota_octets) AS octets_limit,
       coalesce(a.quota_messages, d.account_quota_messages) AS messages_limit
FROM account a JOIN domain d ON d.id = a.domain_id LEFT JOIN account_usage u ON u.account_id = a.id
WHERE a.id = :account_id
"""


async def quota_of(database: Database, account_id: UUID) -> Quota:
    """What the account uses and may use; its domain's quota isn't told. Raises NotFound."""
    async with database.transaction() as connection:
        row = (await run(connection, _QUOTA, account_id=account_id)).one_or_none()
    if row is None:
        raise NotFound("there is no such account")
    return Quota(*row)
