"""The queue as the REST API shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import NotFound
from store_api.db.engine import run

# `sending` (a worker has the lease) and `deferred` (it failed before) are queued ones.
State = Literal["queued", "sending", "deferred", "held", "delivered", "failed", "cancelled"]

_LEASED: Final = "(d.lease IS NOT NULL AND d.lease_until > now())"
_COLUMNS: Final = f"""
d.id, d.domain_id, d.transmission_id, t.reverse_path AS sender, d.recipient, d.domain, d.attempts,
d.last_reply, d.last_status, d.last_remote, d.next_attempt_at, d.expires_at, d.ended_at, t.created_at, t.octets,
substring(t.traceparent FROM 4 FOR 32) AS trace_id,
CASE WHEN d.state <> 'queued' THEN d.state WHEN {_LEASED} THEN 'sending'
     WHEN d.attempts > 0 THEN 'deferred' ELSE 'queued' END AS state
"""
_FROM: Final = "FROM delivery d JOIN transmission t ON t.id = d.transmission_id"

# What a shown state means in columns.
_STATES: Final[dict[str, str]] = {
    "queued": f"d.state = 'queued' AND d.attempts = 0 AND NOT {_LEASED}",
    "sending": f"d.state = 'queued' AND {_LEASED}",
    "deferred": f"d.state = 'queued' AND d.attempts > 0 AND NOT {_LEASED}",
    **{state: f"d.state = '{state}'" for state in ("held", "delivered", "failed", "cancelled")},
}


@dataclass(frozen=True, slots=True)
class Selection:
    """Which deliveries are meant: all that fit everything that is given. `only`: the domain of ours they come from."""

    only: UUID | None = None
    ids: tuple[UUID, ...] | None = None
    domain: str | None = None
    recipient: str | None = None
    sender: str | None = None
    transmission_id: UUID | None = None
    account: str | None = None

    def join(self) -> str:
        """What the conditions need besides `delivery d`."""
        return "" if self.sender is None else "JOIN transmission t ON t.id = d.transmission_id"

    def where(self) -> tuple[str, dict[str, Any]]:
        """(conditions on `d` and `t`, their values)."""
        conditions: list[str] = ["true"]
        values: dict[str, Any] = {}
        domain = self.domain or (self.recipient or "").rpartition("@")[2]
        for condition, name, value in (
            ("d.domain_id = :only", "only", self.only),
            ("d.id = ANY (CAST(:ids AS uuid[]))", "ids", None if self.ids is None else list(self.ids)),
            ("d.domain = :domain", "domain", domain.lower() or None),
            ("lower(d.recipient) = :recipient", "recipient", self.recipient and self.recipient.lower()),
            ("lower(t.reverse_path) = :sender", "sender", self.sender and self.sender.lower()),
            ("d.transmission_id = :transmission_id", "transmission_id", self.transmission_id),
            (
                "d.account_id = (SELECT id FROM account WHERE address = :account)",
                "account",
                self.account and self.account.lower(),
            ),
        ):
            if value is not None:
                conditions.append(condition)
                values[name] = value
        return " AND ".join(conditions), values


async def list_deliveries(
    connection: AsyncConnection, selection: Selection, state: State | None, before: UUID | None, limit: int
) -> list[Any]:
    """Rows of deliveries, newest first, in `state` or any."""
    where, values = selection.where()
    if state is not None:
        where += f" AND {_STATES[state]}"
    if before is not None:
        where, values["before"] = f"{where} AND d.id < :before", before
    sql = f"SELECT {_COLUMNS} {_FROM} WHERE {where} ORDER BY d.id DESC LIMIT :limit"
    return list(await run(connection, sql, **values, limit=limit))


async def read_delivery(connection: AsyncConnection, only: UUID | None, delivery_id: UUID) -> Any:
    """One row. Raises NotFound."""
    rows = await list_deliveries(connection, Selection(only, ids=(delivery_id,)), None, None, 1)
    if not rows:
        raise NotFound("there is no such delivery")
    return rows[0]


async def list_attempts(connection: AsyncConnection, delivery_id: UUID) -> list[Any]:
    """Rows (at, result, reply, status, remote, address, tls) of each attempt, oldest first."""
    return list(
        await run(
            connection,
            "SELECT at, result, reply, status, remote, address, tls FROM delivery_attempt"
            " WHERE delivery_id = :id ORDER BY at",
            id=delivery_id,
        )
    )
