"""Events, written by the transaction that they tell of; a publisher brings them to the stream after commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from store_api.db.engine import fetch
from store_api.db.ids import uuid7


@dataclass(frozen=True, slots=True)
class Event:
    """`type` is what and outcome, as in the subject `events.<what>.<outcome>`: `message.stored`.

    `content` is JSON: never message text, subjects or passwords.
    """

    type: str
    content: dict[str, Any]
    domain_id: UUID | None = None
    account_id: UUID | None = None
    id: UUID = field(default_factory=uuid7)


_RECORD: Final = """
INSERT INTO event (id, type, domain_id, account_id, content)
SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:types AS text[]), CAST(:domains AS uuid[]),
                     CAST(:accounts AS uuid[]), CAST(:contents AS jsonb[]))
"""


async def record(connection: AsyncConnection, events: Sequence[Event]) -> None:
    """Write events; they happen if the transaction commits."""
    if not events:
        return
    await fetch(
        connection,
        _RECORD,
        ids=[event.id for event in events],
        types=[event.type for event in events],
        domains=[event.domain_id for event in events],
        accounts=[event.account_id for event in events],
        contents=[msgspec.json.encode(event.content).decode() for event in events],
    )
