"""What carries \\Deleted (RFC 9051 §6.3.11, RFC 9208 §4.1.4): rarely asked for and mostly nothing, so it isn't kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from mail_runtime.contracts.store import Deleted
from store_api.db.engine import Database, run
from store_api.mailboxes.reaching import REACHABLE
from store_api.mailboxes.rights import Right

_COUNT: Final = """
SELECT mailbox_id, count(*) AS messages, CAST(sum(octets) AS bigint) AS octets
FROM message
WHERE account_id = :account_id AND mailbox_id = ANY (CAST(:mailbox_ids AS uuid[])) AND '\\Deleted' = ANY (flags)
GROUP BY mailbox_id
"""
_COUNT_ELSEWHERE: Final = f"""
SELECT m.mailbox_id, count(*) AS messages, CAST(sum(m.octets) AS bigint) AS octets
FROM ({REACHABLE}) x JOIN message m ON m.account_id = x.owner_id AND m.mailbox_id = x.mailbox_id
WHERE x.rights & {Right.READ:d} <> 0 AND x.mailbox_id = ANY (CAST(:mailbox_ids AS uuid[]))
  AND '\\Deleted' = ANY (m.flags)
GROUP BY m.mailbox_id
"""


async def count_deleted(database: Database, account_id: UUID, mailbox_ids: Sequence[UUID]) -> dict[UUID, Deleted]:
    """Of each of these mailboxes that has any: own ones, and others' that the account may read."""
    async with database.transaction() as connection:
        rows = list(await run(connection, _COUNT, account_id=account_id, mailbox_ids=list(mailbox_ids)))
        rows += await run(connection, _COUNT_ELSEWHERE, reader_id=account_id, mailbox_ids=list(mailbox_ids))
        return {row.mailbox_id: Deleted(messages=row.messages, octets=row.octets) for row in rows}
