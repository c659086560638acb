"""Others' mailboxes by their names: `Shared/<owner>/<mailbox>`, and `Public/<mailbox>` of the domain's account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import NotFound, NotPermitted, Refused
from mail_runtime.contracts.store import Mailbox
from mail_runtime.contracts.store.sharing import PUBLIC, SHARED, is_elsewhere
from store_api.db.engine import run
from store_api.mailboxes.names import superiors
from store_api.mailboxes.reaching import REACHABLE, Reached, prefix_of, reach
from store_api.mailboxes.rights import SHOWING, Right
from store_api.mailboxes.rows import COLUMNS, to_mailbox

_LIST: Final = f"""
SELECT x.*, {", ".join(f"m.{column.strip()}" for column in COLUMNS.split(","))}
FROM ({REACHABLE}) x JOIN mailbox m ON m.account_id = x.owner_id AND m.id = x.mailbox_id
WHERE x.rights & {SHOWING:d} <> 0
ORDER BY x.is_public, x.address, m.name <> 'INBOX', m.name COLLATE "C"
"""


async def list_elsewhere(connection: AsyncConnection, account_id: UUID) -> list[Mailbox]:
    """Those that the account may know of, by owner and name, `Public/` last."""
    rows = (await run(connection, _LIST, reader_id=account_id)).all()
    if not rows:
        return []
    subscribed = set(await subscriptions_elsewhere(connection, account_id))
    found = [_reached(row).shown(to_mailbox(row)) for row in rows]
    return [msgspec.structs.replace(one, subscribed=one.name in subscribed) for one in found]


def _reached(row: Any) -> Reached:
    return Reached(row.owner_id, row.mailbox_id, Right(row.rights), prefix_of(row))


async def subscriptions_elsewhere(connection: AsyncConnection, account_id: UUID) -> list[str]:
    """Names that the account is subscribed to, whether there is such a mailbox or not (RFC 9051 §6.3.7)."""
    found = await run(
        connection, "SELECT name FROM subscription_elsewhere WHERE account_id = :account_id", account_id=account_id
    )
    return list(found.scalars())


async def subscribe_elsewhere(connection: AsyncConnection, account_id: UUID, name: str, *, subscribed: bool) -> None:
    """Raises NotFound: there is no such mailbox to see (`l`, RFC 4314 §4), or no such subscription."""
    if not subscribed:
        sql = "DELETE FROM subscription_elsewhere WHERE account_id = :account_id AND name = :name"
        if not (await run(connection, sql, account_id=account_id, name=name)).rowcount:
            raise NotFound("there is no such mailbox")
        return
    seen = [one.name for one in await list_elsewhere(connection, account_id) if "l" in one.rights]
    if name not in seen:
        raise NotFound("there is no such mailbox")
    await run(
        connection,
        "INSERT INTO subscription_elsewhere (account_id, name) VALUES (:account_id, :name) ON CONFLICT DO NOTHING",
        account_id=account_id,
        name=name,
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Where a mailbox of another is to be: its name there, and what its owner's begin with for the account."""

    owner_id: UUID
    name: str
    prefix: str


async def place_for(connection: AsyncConnection, account_id: UUID, name: str) -> Place:
    """Where a mailbox of that name may be made: `k` on the nearest superior that exists (RFC 4314 §4, CREATE).

    Raises NotFound: there is no such owner to see. NotPermitted.
    """
    prefixes = {prefix_of(row): row.owner_id for row in await run(connection, _LIST, reader_id=account_id)}
    prefix = next((one for one in prefixes if name.startswith(one)), None)
    if prefix is None:
        raise NotFound("there is nobody of that name who shares mailboxes")
    owner_id, name = prefixes[prefix], name.removeprefix(prefix)
    nearest = await run(
        connection,
        "SELECT id FROM mailbox WHERE account_id = :owner_id AND name = ANY (CAST(:names AS text[]))"
        " ORDER BY length(name) DESC LIMIT 1",
        owner_id=owner_id,
        names=superiors(name),
    )
    if (parent_id := nearest.scalar()) is None:
        raise NotPermitted("only the owner makes mailboxes there")
    try:
        await reach(connection, account_id, parent_id, Right.CREATE)
    except NotFound as error:  # a superior that the account doesn't see
        raise NotPermitted("only the owner makes mailboxes there") from error
    return Place(owner_id, name, prefix)


def refuse_elsewhere(name: str) -> None:
    """Raises Refused: an account's own mailbox can't have the name of another's."""
    if is_elsewhere(name):
        raise Refused(f"what begins with {SHARED}/ or {PUBLIC}/ belongs to others")
