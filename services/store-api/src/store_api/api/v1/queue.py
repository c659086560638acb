"""The outbound queue."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, model_validator
from sqlalchemy.ext.asyncio import AsyncConnection

from store_api.api.access import DomainAdmin, TheStore
from store_api.api.idempotency import Idempotent
from store_api.api.problems import Refusal
from store_api.api.v1.common import QUEUE, Input, Limit
from store_api.api.v1.cursors import Cursor
from store_api.audit.audit import record
from store_api.queue.actions import Action, act
from store_api.queue.listing import Selection, State, list_attempts, list_deliveries, read_delivery

router = APIRouter(route_class=Idempotent, tags=[QUEUE])

MAX_IDS = 1000


class Delivery(BaseModel):
    """One recipient of a message that goes to another server.

    `sending`: a worker has it now; `deferred`: it failed before and will be tried again; `failed`: the sender got a
    bounce.
    """

    id: UUID
    transmission_id: UUID
    sender: str = Field(examples=["alice@example.test"])
    recipient: str = Field(examples=["bill@elsewhere.test"])
    state: State
    attempts: int = Field(examples=[2])
    last_reply: str = Field(examples=["451 4.7.1 greylisted, try again"])
    last_status: str = Field(examples=["4.7.1"])
    last_remote: str = Field(examples=["mx.elsewhere.test"])
    octets: int = Field(examples=[8123])
    trace_id: str | None = Field(
        examples=["0af7651916cd43dd8448eb211c80319c"],
        description="in `X-Postroom-Trace` of the message and in all logs about it",
    )
    created_at: datetime
    next_attempt_at: datetime
    expires_at: datetime
    ended_at: datetime | None


class Deliveries(BaseModel):
    items: list[Delivery]
    next_cursor: str | None = None


class Attempt(BaseModel):
    """One try, and what the remote said."""

    at: datetime
    result: Literal["delivered", "deferred", "failed"]
    reply: str = Field(examples=["451 4.7.1 greylisted, try again"])
    status: str = Field(examples=["4.7.1"])
    remote: str = Field(examples=["mx.elsewhere.test"])
    address: str = Field(examples=["192.0.2.7"], description="of the remote; empty: none was reached")
    tls: str = Field(examples=["TLSv1.3 TLS_AES_256_GCM_SHA384"], description="empty: without TLS")


class DeliveryWithAttempts(Delivery):
    history: list[Attempt]


class Chosen(Input):
    """Which deliveries are meant: those that fit all that is given, and something must be given."""

    ids: list[UUID] | None = Field(None, min_length=1, max_length=MAX_IDS)
    domain: str | None = Field(
        None, min_length=1, max_length=253, description="of the recipients", examples=["elsewhere.test"]
    )
    recipient: str | None = Field(None, min_length=1, max_length=320, examples=["bill@elsewhere.test"])
    sender: str | None = Field(None, min_length=1, max_length=320, examples=["alice@example.test"])

    account: str | None = Field(None, min_length=1, max_length=320, description="of ours, that sent or forwarded it")

    @model_validator(mode="after")
    def _something(self) -> Chosen:
        if not self.model_dump(exclude_none=True):
            raise ValueError("say which deliveries: ids, domain, recipient, sender or account")
        return self


class Acted(BaseModel):
    """How many deliveries it concerned. Those that a worker is sending at the moment are left alone."""

    changed: int = Field(examples=[17])


def _delivery(row: Any) -> Delivery:
    return Delivery.model_validate(row, from_attributes=True)


@router.get("/queue")
async def get_queue(
    store: TheStore,
    actor: DomainAdmin,
    state: State | None = None,
    domain: Annotated[str | None, Query(description="of the recipient", max_length=253)] = None,
    recipient: Annotated[str | None, Query(max_length=320)] = None,
    sender: Annotated[str | None, Query(description="the reverse path", max_length=320)] = None,
    transmission_id: Annotated[UUID | None, Query(description="all recipients of one message")] = None,
    account: Annotated[str | None, Query(description="of ours, that sent or forwarded it", max_length=320)] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Deliveries:
    """Deliveries to other servers, newest first; the admin of a domain sees those of its accounts."""
    selection = Selection(actor.domain_id, None, domain, recipient, sender, transmission_id, account)
    of = f"queue {state} {selection}"
    before = store.cursors.after(of, cursor, UUID)
    async with store.database.transaction() as connection:
        rows = await list_deliveries(connection, selection, state, before, limit + 1)
    rows, following = store.cursors.page(of, rows, limit, lambda row: row.id)
    return Deliveries(items=[_delivery(row) for row in rows], next_cursor=following)


@router.get("/queue/{delivery_id}")
async def get_delivery(store: TheStore, actor: DomainAdmin, delivery_id: UUID) -> DeliveryWithAttempts:
    """One delivery with every attempt and the remote's words."""
    async with store.database.transaction() as connection:
        row = await read_delivery(connection, actor.domain_id, delivery_id)
        attempts = await list_attempts(connection, delivery_id)
    history = [Attempt.model_validate(attempt, from_attributes=True) for attempt in attempts]
    return DeliveryWithAttempts(**_delivery(row).model_dump(), history=history)


@router.post("/queue/{action}")
async def post_action(store: TheStore, actor: DomainAdmin, action: Action, chosen: Chosen) -> Acted:
    """Try now, hold, release or cancel many deliveries. Cancelled ones are not bounced."""
    selection = Selection(
        actor.domain_id,
        None if chosen.ids is None else tuple(chosen.ids),
        chosen.domain,
        chosen.recipient,
        chosen.sender,
        account=chosen.account,
    )
    detail = chosen.model_dump(exclude_none=True, mode="json")

    async def note(connection: AsyncConnection, changed: int) -> None:
        await record(connection, actor.name, f"queue.{action}", "queue", actor.domain_id, changed=changed, **detail)

    changed = await act(store.database, action, selection, note)
    store.dispatcher.wake()
    return Acted(changed=changed)


@router.post("/queue/{delivery_id}/{action}")
async def post_delivery_action(
    store: TheStore, actor: DomainAdmin, delivery_id: UUID, action: Action
) -> DeliveryWithAttempts:
    """Try now, hold, release or cancel one delivery. 409: a worker is sending it, or its state doesn't allow it."""
    async with store.database.transaction() as connection:
        row = await read_delivery(connection, actor.domain_id, delivery_id)

    async def note(connection: AsyncConnection, _: int) -> None:
        await record(
            connection, actor.name, f"queue.{action}", row.recipient, row.domain_id, delivery_id=str(delivery_id)
        )

    if not await act(store.database, action, Selection(actor.domain_id, ids=(delivery_id,)), note):
        raise Refusal("conflict", f"what is {row.state} can't be changed so: {action}")
    store.dispatcher.wake()
    return await get_delivery(store, actor, delivery_id)
