"""Webhooks: events by HTTP to a server of yours."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from mail_runtime.contracts.events import CloudEvent
from store_api.accounts.accounts import find_account
from store_api.api.access import Actor, TheActor, TheStore
from store_api.api.idempotency import Idempotent
from store_api.api.problems import Refusal
from store_api.api.v1.common import EVENTS, EventType, IfMatch, Input, Limit, require_match, tagged
from store_api.api.v1.cursors import Cursor
from store_api.audit.audit import record
from store_api.db.ids import uuid7
from store_api.directory.domains import find_domain_id
from store_api.events import webhooks
from store_api.events.addresses import MAX_URL_LENGTH, checked_url
from store_api.events.signing import new_secret
from store_api.store import Store

router = APIRouter(route_class=Idempotent, prefix="/webhooks", tags=[EVENTS])

MAX_TYPES = 50
Types = Annotated[
    list[EventType],
    Field(max_length=MAX_TYPES, description="empty: all", examples=[["message.bounced", "message.*"]]),
]
Url = Annotated[str, Field(min_length=1, max_length=MAX_URL_LENGTH, examples=["https://hooks.example.com/postroom"])]


class WebhookSettings(Input):
    """What can be changed; what is left out stays."""

    url: Url = Field(default_factory=str)
    types: Types = Field(default_factory=list)
    active: bool = Field(default_factory=lambda: True, description="false: it is told nothing", examples=[True])


class NewWebhook(Input):
    """For a domain, an account, or (an admin's, with neither) for all. An account's own is for itself."""

    url: Url
    types: Types = Field(default_factory=list)
    domain: str | None = Field(None, max_length=253, examples=["example.test"])
    account: str | None = Field(None, max_length=320, examples=[None])


class Webhook(BaseModel):
    id: UUID
    url: str = Field(examples=["https://hooks.example.com/postroom"])
    types: list[str] = Field(examples=[["message.bounced"]])
    active: bool
    domain: str | None = Field(examples=["example.test"])
    account: str | None = Field(examples=[None])
    created_at: datetime


class CreatedWebhook(Webhook):
    secret: str = Field(
        description="shown this once; requests are signed with it (standardwebhooks.com)",
        examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )


class Webhooks(BaseModel):
    items: list[Webhook]
    next_cursor: str | None = None


class Telling(BaseModel):
    """How telling one event went."""

    event_id: UUID
    type: str = Field(examples=["message.bounced"])
    state: Literal["waiting", "delivered", "failed"]
    attempts: int = Field(examples=[1])
    next_attempt_at: datetime
    last_answer: str = Field(examples=["204"])
    created_at: datetime


class Tellings(BaseModel):
    items: list[Telling]
    next_cursor: str | None = None


class Pinged(BaseModel):
    event_id: UUID


def _webhook(row: Any) -> Webhook:
    return Webhook.model_validate(row, from_attributes=True)


async def _whose(store: Store, actor: Actor, new: NewWebhook) -> tuple[UUID | None, UUID | None]:
    """(domain, account) that it is for. Raises Refusal, NotFound: not the caller's to choose."""
    if new.domain is not None and new.account is not None:
        raise Refusal("refused", "a webhook is for a domain or for an account")
    if new.account is not None:
        row = await find_account(store.database, new.account, domain_id=actor.domain_id, account_id=actor.account_id)
        return row.domain_id, row.id
    if actor.scope == "account":
        if new.domain is not None:
            raise Refusal("forbidden", "an account's webhook is for itself")
        return actor.domain_id, actor.account_id
    if new.domain is not None:
        return await find_domain_id(store.database, new.domain, within=actor.domain_id), None
    return actor.domain_id, None


@router.post("", status_code=201)
async def post_webhook(store: TheStore, actor: TheActor, new: NewWebhook, response: Response) -> CreatedWebhook:
    """Create a webhook. Its events come as POST requests with a CloudEvent in JSON, signed, at least once."""
    url = str(checked_url(new.url, private=store.settings.webhooks_private))
    domain_id, account_id = await _whose(store, actor, new)
    secret = new_secret()
    async with store.database.transaction() as connection:
        webhook_id = await webhooks.create_webhook(connection, domain_id, account_id, url, new.types, secret)
        created = _webhook(await webhooks.read_webhook(connection, None, None, webhook_id))
        await record(connection, actor.name, "webhook.create", url, domain_id, webhook_id=str(webhook_id))
    tagged(response, created, f"/v1/webhooks/{webhook_id}")
    return CreatedWebhook(**created.model_dump(), secret=secret)


@router.get("")
async def get_webhooks(store: TheStore, actor: TheActor, limit: Limit = 100, cursor: Cursor = None) -> Webhooks:
    """Webhooks that the caller may change, oldest first."""
    after = store.cursors.after("webhooks", cursor, UUID)
    async with store.database.transaction() as connection:
        rows = await webhooks.list_webhooks(connection, actor.domain_id, actor.account_id, after, limit + 1)
    rows, following = store.cursors.page("webhooks", rows, limit, lambda row: row.id)
    return Webhooks(items=[_webhook(row) for row in rows], next_cursor=following)


@router.get("/{webhook_id}")
async def get_webhook(store: TheStore, actor: TheActor, webhook_id: UUID, response: Response) -> Webhook:
    """One webhook."""
    async with store.database.transaction() as connection:
        found = _webhook(await webhooks.read_webhook(connection, actor.domain_id, actor.account_id, webhook_id))
    tagged(response, found)
    return found


@router.patch("/{webhook_id}")
async def patch_webhook(
    store: TheStore,
    actor: TheActor,
    webhook_id: UUID,
    new: WebhookSettings,
    response: Response,
    if_match: IfMatch = None,
) -> Webhook:
    """Change where and what it is told, or pause it."""
    changes = new.changes()
    if "url" in changes:
        changes["url"] = str(checked_url(changes["url"], private=store.settings.webhooks_private))
    async with store.database.transaction() as connection:
        row = await webhooks.read_webhook(connection, actor.domain_id, actor.account_id, webhook_id, lock=True)
        require_match(if_match, _webhook(row))
        await webhooks.change_webhook(connection, webhook_id, changes)
        changed = _webhook(await webhooks.read_webhook(connection, None, None, webhook_id))
        await record(
            connection, actor.name, "webhook.change", changed.url, row.domain_id, webhook_id=str(webhook_id), **changes
        )
    tagged(response, changed)
    return changed


@router.delete("/{webhook_id}", status_code=204)
async def delete_webhook(store: TheStore, actor: TheActor, webhook_id: UUID, if_match: IfMatch = None) -> None:
    """Remove a webhook with what waits for it."""
    async with store.database.transaction() as connection:
        row = await webhooks.read_webhook(connection, actor.domain_id, actor.account_id, webhook_id, lock=True)
        require_match(if_match, _webhook(row))
        await webhooks.delete_webhook(connection, webhook_id)
        await record(connection, actor.name, "webhook.delete", row.url, row.domain_id, webhook_id=str(webhook_id))


@router.post("/{webhook_id}/secret")
async def post_secret(store: TheStore, actor: TheActor, webhook_id: UUID) -> CreatedWebhook:
    """Give it a new secret; the old one signs nothing any more."""
    secret = new_secret()
    async with store.database.transaction() as connection:
        row = await webhooks.read_webhook(connection, actor.domain_id, actor.account_id, webhook_id, lock=True)
        await webhooks.change_webhook(connection, webhook_id, {"secret": secret})
        await record(connection, actor.name, "webhook.new_secret", row.url, row.domain_id, webhook_id=str(webhook_id))
    return CreatedWebhook(**_webhook(row).model_dump(), secret=secret)


@router.post("/{webhook_id}/ping", status_code=202)
async def post_ping(store: TheStore, actor: TheActor, webhook_id: UUID) -> Pinged:
    """Tell it of an event `webhook.ping`, to see that it works: look at its deliveries."""
    event = CloudEvent(
        id=uuid7(), source=store.publisher.source, type="webhook.ping", time=datetime.now(UTC).replace(microsecond=0)
    )
    async with store.database.transaction() as connection:
        row = await webhooks.read_webhook(connection, actor.domain_id, actor.account_id, webhook_id)
        await webhooks.ping(connection, row, event)
    return Pinged(event_id=event.id)


@router.get("/{webhook_id}/deliveries")
async def get_tellings(
    store: TheStore,
    actor: TheActor,
    webhook_id: UUID,
    state: Literal["waiting", "delivered", "failed"] | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Tellings:
    """How telling it went, newest event first; of the last seven days."""
    of = f"webhook {webhook_id} {state}"
    before = store.cursors.after(of, cursor, UUID)
    async with store.database.transaction() as connection:
        await webhooks.read_webhook(connection, actor.domain_id, actor.account_id, webhook_id)
        rows = await webhooks.list_tellings(connection, webhook_id, state, before, limit + 1)
    rows, following = store.cursors.page(of, rows, limit, lambda row: row.event_id)
    return Tellings(items=[Telling.model_validate(row, from_attributes=True) for row in rows], next_cursor=following)


@router.post("/{webhook_id}/deliveries/{event_id}/retry", status_code=202)
async def post_retry(store: TheStore, actor: TheActor, webhook_id: UUID, event_id: UUID) -> Pinged:
    """Tell it again, now."""
    async with store.database.transaction() as connection:
        await webhooks.read_webhook(connection, actor.domain_id, actor.account_id, webhook_id)
        await webhooks.tell_again(connection, webhook_id, event_id)
    return Pinged(event_id=event_id)
