"""Rows of the audit log, written by the transaction that makes the change that they tell of."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from store_api.db.engine import run
from store_api.db.ids import uuid7

_RECORD: Final = """
INSERT INTO audit (id, actor, action, object, domain_id, detail)
VALUES (:id, :actor, :action, :object, :domain_id, CAST(:detail AS jsonb))
"""


async def record(
    connection: AsyncConnection, actor: str, action: str, object: str, domain_id: UUID | None, **detail: Any
) -> None:
    """Write one row; it stands if the transaction commits.

    `actor` is `Actor.name`. `action` is noun and verb, as in `account.create`; `object` names what was changed for
    people: an address, a domain. `domain_id`: whose administrators may read it, besides the system's.
    `detail` is JSON: what changed, never a secret.
    """
    await run(
        connection,
        _RECORD,
        id=uuid7(),
        actor=actor,
        action=action,
        object=object,
        domain_id=domain_id,
        detail=msgspec.json.encode(detail).decode(),
    )


_OF_ACCOUNT: Final = "SELECT address, domain_id FROM account WHERE id = :account_id"


async def record_of_account(
    connection: AsyncConnection, actor: str, action: str, account_id: UUID, **detail: Any
) -> None:
    """`record` for something that an account has, named by its address."""
    row = (await run(connection, _OF_ACCOUNT, account_id=account_id)).one()
    await record(connection, actor, action, row.address, row.domain_id, **detail)
