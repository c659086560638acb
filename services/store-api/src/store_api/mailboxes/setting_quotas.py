"""SETQUOTA (RFC 9208 §4.1.3): accounts that may set the quotas of their domain's accounts, named by address."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import NotFound, Refused
from mail_runtime.contracts.store import SetQuota
from store_api.audit.audit import record
from store_api.db.engine import Database, run
from store_api.mailboxes.quota import Quota, quota_of

# JSON shows them exactly up to here (`api.v1.common`).
MAX_LIMIT: Final = 2**53 - 1

_FIND: Final = """
SELECT t.id, t.address, t.domain_id, me.address AS setter
FROM account me
JOIN account t ON t.domain_id = me.domain_id AND t.deleted_at IS NULL
    AND t.address = coalesce(nullif(:address, ''), me.address)
WHERE me.id = :account_id AND me.sets_quotas AND me.state = 'active'
"""


async def quota_of_root(database: Database, account_id: UUID, address: str) -> Quota:
    """Of an account of the domain, for who may set it. Raises NotFound: for others there is no such root."""
    async with database.transaction() as connection:
        found = await _find(connection, account_id, address)
    return await quota_of(database, found.id)


async def set_quota(database: Database, account_id: UUID, wanted: SetQuota) -> Quota:
    """Both limits; None: what the domain gives to each account. An empty address: the account's own.

    Raises NotFound: there is no such root, or the account may not set it. Refused: a limit is too large.
    """
    limits = {"quota_octets": wanted.octets_limit, "quota_messages": wanted.messages_limit}
    if any(limit is not None and not 0 <= limit <= MAX_LIMIT for limit in limits.values()):
        raise Refused("the limit is too large")
    async with database.transaction() as connection:
        found = await _find(connection, account_id, wanted.address, for_update=True)
        await run(
            connection,
            "UPDATE account SET quota_octets = :quota_octets, quota_messages = :quota_messages WHERE id = :id",
            id=found.id,
            **limits,
        )
        actor = f"account {found.setter}"
        await record(connection, actor, "account.change", found.address, found.domain_id, **limits)
    return await quota_of(database, found.id)


async def _find(connection: AsyncConnection, account_id: UUID, address: str, *, for_update: bool = False) -> Any:
    sql = _FIND + (" FOR NO KEY UPDATE OF t" if for_update else "")
    row = (await run(connection, sql, account_id=account_id, address=address.lower())).one_or_none()
    if row is None:
        raise NotFound("there is no such quota root")
    return row
