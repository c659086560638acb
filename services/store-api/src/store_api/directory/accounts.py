"""Accounts as their administrators see them: list, read, change, mark as deleted."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_proto.addresses import AddressFault, parse_mailbox
from mail_runtime.contracts.errors import NotFound, Refused
from store_api.db.engine import run

MAX_FORWARDS: Final = 20

_COLUMNS: Final = """
a.id, a.address, a.domain_id, a.state, a.display_name, a.quota_octets, a.quota_messages, a.forward_to,
a.forward_keeps_copy, a.detail_to_mailbox, a.sets_quotas, a.created_at,
coalesce(u.messages, 0) AS used_messages, coalesce(u.octets, 0) AS used_octets
"""
_FROM: Final = "FROM account a LEFT JOIN account_usage u ON u.account_id = a.id"

_LIST: Final = f"""
SELECT {_COLUMNS} {_FROM} JOIN domain d ON d.id = a.domain_id
WHERE a.address > :after AND a.deleted_at IS NULL
  AND (CAST(:only AS uuid) IS NULL OR a.domain_id = :only)
  AND (CAST(:domain AS text) IS NULL OR d.name = :domain)
  AND (CAST(:state AS text) IS NULL OR a.state = :state)
ORDER BY a.address LIMIT :limit
"""


async def list_accounts(
    connection: AsyncConnection, only: UUID | None, domain: str | None, state: str | None, after: str, limit: int
) -> list[Any]:
    """Rows by address, after `after`; of the domain with the id `only`, of that name, in that state where given."""
    return list(
        await run(
            connection,
            _LIST,
            after=after,
            only=only,
            domain=None if domain is None else domain.lower(),
            state=state,
            limit=limit,
        )
    )


async def read_account(connection: AsyncConnection, account_id: UUID, *, for_update: bool = False) -> Any:
    """One row. Raises NotFound."""
    row = (
        await run(
            connection,
            f"SELECT {_COLUMNS} {_FROM} WHERE a.id = :id AND a.deleted_at IS NULL"
            + (" FOR NO KEY UPDATE OF a" if for_update else ""),
            id=account_id,
        )
    ).one_or_none()
    if row is None:
        raise NotFound("there is no such account")
    return row


async def change_account(connection: AsyncConnection, account: Any, changes: dict[str, Any]) -> None:
    """Set columns of a locked row. Raises Refused: a forwarding address is none, or is the account's own."""
    values = dict(changes)
    if "forward_to" in values:
        values["forward_to"] = list(dict.fromkeys(target_address(each) for each in values["forward_to"]))
        if account.address in values["forward_to"]:
            raise Refused("an account can't forward to itself: set forward_keeps_copy")
    if values:
        columns = ", ".join(f"{column} = :{column}" for column in values)
        await run(connection, f"UPDATE account SET {columns} WHERE id = :id", **values, id=account.id)


def target_address(text: str) -> str:
    """An address that mail is sent on to, with its domain in lower case. Raises Refused."""
    try:
        return str(parse_mailbox(text))
    except AddressFault as fault:
        raise Refused(f"{text!r} is not an address: {fault}") from fault


async def mark_deleted(connection: AsyncConnection, account: Any) -> None:
    """From now on nobody finds a locked account, and its address is free; `removal` clears up behind it."""
    await run(
        connection,
        "UPDATE account SET state = 'disabled', deleted_at = now(), address = 'deleted:' || id, forward_to = '{}'"
        " WHERE id = :id",
        id=account.id,
    )
    await run(connection, "DELETE FROM alias_target WHERE target = :address", address=account.address)
    for table in ("api_token", "app_password", "webhook"):
        await run(connection, f"DELETE FROM {table} WHERE account_id = :id", id=account.id)
    # Whoever gets the address next doesn't get the rights; what it shared isn't seen any more (`mailboxes.reaching`).
    await run(connection, "DELETE FROM mailbox_right WHERE subject_id = :id", id=account.id)
    await run(connection, "DELETE FROM annotation WHERE writer_id = :id", id=account.id)
