"""Mailboxes of an account."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from mail_runtime.contracts import store as wire
from store_api.api.access import OwnAccount, TheAccount, TheActor, TheStore
from store_api.api.idempotency import Idempotent
from store_api.api.v1.common import MESSAGES, IfMatch, Input, etag_of, require_match
from store_api.mailboxes.mailboxes import create_mailbox, delete_mailbox, list_mailboxes, read_mailbox
from store_api.mailboxes.renaming import DOMAINS_RETENTION, MAX_RETENTION_DAYS, change_mailbox

router = APIRouter(route_class=Idempotent, prefix="/accounts/{address}", tags=[MESSAGES])

SpecialUse = Literal["\\Archive", "\\Drafts", "\\Junk", "\\Sent", "\\Trash"]
Name = Annotated[str, Field(max_length=1000, description="`/` between the levels", examples=["Projects/Postroom"])]
RetentionDays = Annotated[
    int | None,
    Field(
        ge=0,
        le=MAX_RETENTION_DAYS,
        description="messages are removed after so many days; 0: never; null: as the domain says for its special use",
        examples=[90],
    ),
]


class MailboxSettings(Input):
    """What can be changed; what is left out stays. A new name takes inferiors along."""

    name: Name = Field(default_factory=str)
    subscribed: bool = Field(default_factory=bool, examples=[True])
    special_use: SpecialUse | None = Field(None, description="null: none", examples=["\\Archive"])
    retention_days: RetentionDays = None


class NewMailbox(Input):
    name: Name
    special_use: SpecialUse | None = Field(None, examples=[None])


class Mailbox(BaseModel):
    """A mailbox and its counters."""

    id: UUID
    name: str = Field(examples=["INBOX"])
    messages: int = Field(examples=[1204])
    unseen: int = Field(examples=[3])
    octets: int = Field(examples=[88_112_301])
    subscribed: bool
    special_use: str | None = Field(examples=[None])
    retention_days: int | None = Field(examples=[None])
    uid_validity: int = Field(examples=[7])
    uid_next: int = Field(examples=[1311])
    highest_modseq: int = Field(examples=[2077])


class Mailboxes(BaseModel):
    items: list[Mailbox]


def _mailbox(found: wire.Mailbox) -> Mailbox:
    return Mailbox.model_validate(found, from_attributes=True)


def _etag(found: wire.Mailbox) -> str:
    """Of what can be changed: the counters go on with the mail."""
    return etag_of(
        MailboxSettings.model_construct(
            name=found.name,
            subscribed=found.subscribed,
            special_use=found.special_use,
            retention_days=found.retention_days,
        )
    )


def _check(if_match: str | None) -> Callable[[wire.Mailbox], None]:
    return lambda found: require_match(if_match, _etag(found))


async def require_own(store: TheStore, account: OwnAccount, mailbox_id: UUID) -> None:
    """Others' mailboxes are not this account's here, whatever it may do in them. Raises NotFound."""
    async with store.database.transaction() as connection:
        await read_mailbox(connection, account.id, mailbox_id)


@router.get("/mailboxes")
async def get_mailboxes(store: TheStore, account: TheAccount) -> Mailboxes:
    """The mailboxes of an account, INBOX first."""
    found = await list_mailboxes(store.database, account.id)
    return Mailboxes(items=[_mailbox(mailbox) for mailbox in found])


@router.post("/mailboxes", status_code=201)
async def post_mailbox(
    store: TheStore, actor: TheActor, account: TheAccount, new: NewMailbox, response: Response
) -> Mailbox:
    """Create a mailbox, and those above it that are missing."""
    wanted = wire.CreateMailbox(name=new.name, special_use=new.special_use)
    created = await create_mailbox(store.database, store.notifier, account.id, wanted, actor=actor.name)
    response.headers["ETag"] = _etag(created)
    response.headers["Location"] = f"/v1/accounts/{account.address}/mailboxes/{created.id}"
    return _mailbox(created)


@router.get("/mailboxes/{mailbox_id}")
async def get_mailbox(store: TheStore, account: TheAccount, mailbox_id: UUID, response: Response) -> Mailbox:
    """One mailbox."""
    async with store.database.transaction() as connection:
        found = await read_mailbox(connection, account.id, mailbox_id)
    response.headers["ETag"] = _etag(found)
    return _mailbox(found)


@router.patch("/mailboxes/{mailbox_id}")
async def patch_mailbox(
    store: TheStore,
    actor: TheActor,
    account: TheAccount,
    mailbox_id: UUID,
    new: MailboxSettings,
    response: Response,
    if_match: IfMatch = None,
) -> Mailbox:
    """Rename, subscribe, give a special use, say how long messages stay. Renaming INBOX moves its messages."""
    await require_own(store, account, mailbox_id)
    changes: dict[str, Any] = new.changes()
    if "special_use" in changes:
        changes["special_use"] = changes["special_use"] or ""
    if "retention_days" in changes and changes["retention_days"] is None:
        changes["retention_days"] = DOMAINS_RETENTION
    changed = await change_mailbox(
        store.database,
        store.notifier,
        account.id,
        mailbox_id,
        wire.ChangeMailbox(**changes),
        check=_check(if_match),
        actor=actor.name,
    )
    response.headers["ETag"] = _etag(changed)
    return _mailbox(changed)


@router.delete("/mailboxes/{mailbox_id}", status_code=204)
async def remove_mailbox(
    store: TheStore, actor: TheActor, account: TheAccount, mailbox_id: UUID, if_match: IfMatch = None
) -> None:
    """Delete a mailbox with its messages, which can be restored for a while. Those below it stay."""
    await require_own(store, account, mailbox_id)
    await delete_mailbox(
        store.database, store.notifier, account.id, mailbox_id, check=_check(if_match), actor=actor.name
    )
