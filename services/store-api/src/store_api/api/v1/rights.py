"""Who else may use a mailbox."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, Field

from mail_runtime.contracts.store import SetRights
from store_api.api.access import Actor, OwnAccount, TheAccount, TheActor, TheStore
from store_api.api.v1.common import MESSAGES, Input
from store_api.api.v1.mailboxes import require_own
from store_api.mailboxes.sharing import list_rights, set_rights

router = APIRouter(prefix="/accounts/{address}/mailboxes/{mailbox_id}/rights", tags=[MESSAGES])

Letters = Annotated[
    str,
    Field(
        max_length=20,
        description="letters of RFC 4314: l see, r read, s keep seen, w flags, i insert, p post, k make mailboxes,"
        " x delete the mailbox, t mark as deleted, e expunge, a administer",
        examples=["lrs"],
    ),
]


class NewRights(Input):
    rights: Letters


class Rights(BaseModel):
    """`identifier`: an address of the domain, or `anyone` of it; behind `-` these rights are taken away."""

    identifier: str = Field(examples=["bob@example.test"])
    rights: Letters


class AllRights(BaseModel):
    items: list[Rights]


@router.get("")
async def get_rights(store: TheStore, account: TheAccount, mailbox_id: UUID) -> AllRights:
    """Who may do what in a mailbox; its owner, who may do everything, first."""
    await require_own(store, account, mailbox_id)
    entries = await list_rights(store.database, account.id, mailbox_id)
    return AllRights(items=[Rights(identifier=one.identifier, rights=one.rights) for one in entries])


@router.put("/{identifier}")
async def put_rights(
    store: TheStore, actor: TheActor, account: TheAccount, mailbox_id: UUID, identifier: str, new: NewRights
) -> Rights:
    """Say what somebody of the domain may do in a mailbox, in the place of what he might before."""
    return await _set(store, actor, account, mailbox_id, identifier, new.rights)


@router.delete("/{identifier}", status_code=204)
async def delete_rights(
    store: TheStore, actor: TheActor, account: TheAccount, mailbox_id: UUID, identifier: str
) -> None:
    """Take all rights from somebody."""
    await _set(store, actor, account, mailbox_id, identifier, "")


async def _set(
    store: TheStore, actor: Actor, account: OwnAccount, mailbox_id: UUID, identifier: str, letters: str
) -> Rights:
    await require_own(store, account, mailbox_id)
    change = SetRights(identifier=identifier, rights=letters)
    entry = await set_rights(store.database, store.notifier, account.id, mailbox_id, change, actor.name)
    return Rights(identifier=entry.identifier, rights=entry.rights)
