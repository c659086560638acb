"""Messages that smtp-in holds for junk: into the Junk mailbox of each account, whatever its address says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from store_api.db.engine import fetch
from store_api.ingest.drafts import Draft

_JUNK: Final = """
SELECT DISTINCT ON (account_id) account_id, id FROM mailbox
WHERE account_id = ANY (CAST(:accounts AS uuid[])) AND special_use = '\\Junk' ORDER BY account_id, id
"""


async def send_to_junk(connection: AsyncConnection, drafts: Iterable[Draft]) -> None:
    """Those of the drafts that are junk; an account that has no such mailbox keeps them where they were going."""
    suspected = [draft for draft in drafts if draft.arrived.transmission.junk and draft.targets]
    if not suspected:
        return
    accounts = {account_id for draft in suspected for account_id, _ in draft.targets}
    junk = {row.account_id: row.id for row in await fetch(connection, _JUNK, accounts=list(accounts))}
    for draft in suspected:
        draft.targets = {
            (account_id, junk.get(account_id, mailbox_id)): local
            for (account_id, mailbox_id), local in draft.targets.items()
        }
