"""Webhooks: who wants to be told what, and how telling went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import NotFound, Refused
from mail_runtime.contracts.events import CloudEvent
from store_api.db.engine import run
from store_api.db.ids import uuid7

# Of one domain or account, and of the system; each event is kept once for each that wants it.
MAX_WEBHOOKS: Final = 20

_COLUMNS: Final = """
w.id, d.name AS domain, a.address AS account, w.url, w.types, w.active, w.created_at, w.domain_id, w.account_id
"""
_FROM: Final = "FROM webhook w LEFT JOIN domain d ON d.id = w.domain_id LEFT JOIN account a ON a.id = w.account_id"

# A domain's admin sees the domain's own and those of its accounts.
_VISIBLE: Final = """
(CAST(:domain_id AS uuid) IS NULL OR w.domain_id = :domain_id)
AND (CAST(:account_id AS uuid) IS NULL OR w.account_id = :account_id)
"""


async def create_webhook(
    connection: AsyncConnection,
    domain_id: UUID | None,
    account_id: UUID | None,
    url: str,
    types: Sequence[str],
    secret: str,
) -> UUID:
    """An account's has its domain as well. Raises Refused: it has too many."""
    count = await run(
        connection,
        "SELECT count(*) FROM webhook WHERE domain_id IS NOT DISTINCT FROM :domain_id"
        " AND account_id IS NOT DISTINCT FROM :account_id",
        domain_id=domain_id,
        account_id=account_id,
    )
    if count.scalar_one() >= MAX_WEBHOOKS:
        raise Refused(f"there are {MAX_WEBHOOKS} webhooks already")
    identifier = uuid7()
    await run(
        connection,
        "INSERT INTO webhook (id, domain_id, account_id, url, secret, types)"
        " VALUES (:id, :domain_id, :account_id, :url, :secret, :types)",
        id=identifier,
        domain_id=domain_id,
        account_id=account_id,
        url=url,
        secret=secret,
        types=list(types),
    )
    return identifier


async def list_webhooks(
    connection: AsyncConnection, domain_id: UUID | None, account_id: UUID | None, after: UUID | None, limit: int
) -> list[Any]:
    """Rows that such a viewer may see, oldest first."""
    return list(
        await run(
            connection,
            f"SELECT {_COLUMNS} {_FROM} WHERE {_VISIBLE} AND (CAST(:after AS uuid) IS NULL OR w.id > :after)"
            " ORDER BY w.id LIMIT :limit",
            domain_id=domain_id,
            account_id=account_id,
            after=after,
            limit=limit,
        )
    )


async def read_webhook(
    connection: AsyncConnection,
    domain_id: UUID | None,
    account_id: UUID | None,
    webhook_id: UUID,
    *,
    lock: bool = False,
) -> Any:
    """One row. Raises NotFound: also when such a viewer may not see it."""
    row = (
        await run(
            connection,
            f"SELECT {_COLUMNS} {_FROM} WHERE {_VISIBLE} AND w.id = :id" + (" FOR NO KEY UPDATE OF w" if lock else ""),
            domain_id=domain_id,
            account_id=account_id,
            id=webhook_id,
        )
    ).one_or_none()
    if row is None:
        raise NotFound("there is no such webhook")
    return row


async def change_webhook(connection: AsyncConnection, webhook_id: UUID, changes: dict[str, Any]) -> None:
    """Set columns of a locked row."""
    if changes:
        columns = ", ".join(f"{column} = :{column}" for column in changes)
        await run(connection, f"UPDATE webhook SET {columns} WHERE id = :id", **changes, id=webhook_id)


async def delete_webhook(connection: AsyncConnection, webhook_id: UUID) -> None:
    """What waits for it goes too."""
    await run(connection, "DELETE FROM webhook WHERE id = :id", id=webhook_id)


async def ping(connection: AsyncConnection, webhook: Any, event: CloudEvent) -> None:
    """Let it be told of an event that nobody else hears of."""
    await run(
        connection,
        "INSERT INTO webhook_delivery (webhook_id, event_id, body) VALUES (:webhook_id, :event_id, :body)",
        webhook_id=webhook.id,
        event_id=event.id,
        body=msgspec.json.encode(event),
    )


async def list_tellings(
    connection: AsyncConnection, webhook_id: UUID, state: str | None, before: UUID | None, limit: int
) -> list[Any]:
    """Rows (event_id, type, state, attempts, next_attempt_at, last_answer, created_at), newest first."""
    return list(
        await run(
            connection,
            "SELECT event_id, convert_from(body, 'UTF8')::jsonb ->> 'type' AS type, state, attempts, next_attempt_at,"
            " last_answer, created_at FROM webhook_delivery WHERE webhook_id = :webhook_id"
            " AND (CAST(:state AS text) IS NULL OR state = :state)"
            " AND (CAST(:before AS uuid) IS NULL OR event_id < :before) ORDER BY event_id DESC LIMIT :limit",
            webhook_id=webhook_id,
            state=state,
            before=before,
            limit=limit,
        )
    )


async def tell_again(connection: AsyncConnection, webhook_id: UUID, event_id: UUID) -> None:
    """Now, whatever became of it. Raises NotFound."""
    done = await run(
        connection,
        "UPDATE webhook_delivery SET state = 'waiting', attempts = 0, next_attempt_at = now()"
        " WHERE webhook_id = :webhook_id AND event_id = :event_id",
        webhook_id=webhook_id,
        event_id=event_id,
    )
    if not done.rowcount:
        raise NotFound("that event was not for this webhook, or it was long ago")
