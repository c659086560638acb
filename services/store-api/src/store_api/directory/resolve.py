"""Where a recipient address leads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from store_api.db.engine import run


@dataclass(frozen=True, slots=True)
class Route:
    """`inbox` is (account, mailbox) when the address is local."""

    address: str
    status: Literal["local", "remote", "unknown"]
    inbox: tuple[UUID, UUID] | None = None


_RESOLVE: Final = """
SELECT d.id IS NOT NULL AS ours, a.id, m.id
FROM unnest(CAST(:addresses AS text[]), CAST(:domains AS text[])) WITH ORDINALITY AS t (address, domain, n)
LEFT JOIN domain d ON d.name = t.domain
LEFT JOIN account a ON a.address = t.address AND a.state = 'active'
LEFT JOIN mailbox m ON m.account_id = a.id AND m.name = 'INBOX'
ORDER BY t.n
"""


async def resolve(connection: AsyncConnection, addresses: Sequence[str]) -> list[Route]:
    """One route per address, in order. Local parts compare without regard to case."""
    rows = await run(
        connection,
        _RESOLVE,
        addresses=[address.lower() for address in addresses],
        domains=[address.rpartition("@")[2].lower() for address in addresses],
    )
    return [
        Route(address, "local", (account, inbox))
        if inbox is not None
        else Route(address, "unknown" if ours else "remote")
        for address, (ours, account, inbox) in zip(addresses, rows, strict=True)
    ]
