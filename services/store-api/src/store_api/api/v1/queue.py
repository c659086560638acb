"""The outbound queue."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel

from store_api.api.access import Admin, TheStore
from store_api.api.v1.common import QUEUE, Limit
from store_api.api.v1.cursors import Cursor
from store_api.queue.listing import list_deliveries

router = APIRouter(tags=[QUEUE])


class Delivery(BaseModel):
    """One recipient of a message that goes to another server."""

    id: UUID
    transmission_id: UUID
    reverse_path: str
    recipient: str
    state: Literal["queued", "delivered", "failed"]
    attempts: int
    last_reply: str
    last_status: str
    last_remote: str
    next_attempt_at: datetime
    expires_at: datetime


class Deliveries(BaseModel):
    items: list[Delivery]
    next_cursor: str | None = None


@router.get("/queue")
async def get_queue(
    store: TheStore,
    actor: Admin,
    state: Literal["queued", "delivered", "failed"] | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Deliveries:
    """Deliveries to other servers, newest first."""
    of = f"queue {state}"
    rows = await list_deliveries(store.database, state, store.cursors.after(of, cursor, UUID), limit + 1)
    rows, following = store.cursors.page(of, rows, limit, lambda row: row.id)
    return Deliveries(
        items=[Delivery.model_validate(row, from_attributes=True) for row in rows],
        next_cursor=following,
    )
