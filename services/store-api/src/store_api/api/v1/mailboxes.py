"""Mailboxes of an account."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel

from store_api.api.access import TheAccount, TheStore
from store_api.api.v1.common import MESSAGES
from store_api.mailboxes.mailboxes import list_mailboxes

router = APIRouter(prefix="/accounts/{address}", tags=[MESSAGES])


class Mailbox(BaseModel):
    """A mailbox and its counters; `name` has `/` between the levels."""

    id: UUID
    name: str
    messages: int
    unseen: int
    octets: int
    subscribed: bool
    special_use: str | None
    uid_validity: int
    uid_next: int
    highest_modseq: int


class Mailboxes(BaseModel):
    items: list[Mailbox]


@router.get("/mailboxes")
async def get_mailboxes(store: TheStore, account: TheAccount) -> Mailboxes:
    """The mailboxes of an account, INBOX first."""
    found = await list_mailboxes(store.database, account.id)
    return Mailboxes(items=[Mailbox.model_validate(mailbox, from_attributes=True) for mailbox in found])
