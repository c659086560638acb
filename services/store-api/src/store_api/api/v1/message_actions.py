"""Changing messages: flags, copying, moving, deleting; one by one, or many of a mailbox at once."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Header, Query

from mail_runtime.contracts.errors import NotFound
from store_api.api.access import OwnAccount, TheAccount, TheStore
from store_api.api.idempotency import Idempotent
from store_api.api.problems import Refusal
from store_api.api.v1.common import MESSAGES
from store_api.api.v1.message_models import (
    Done,
    FlagChange,
    ManyFlagChanges,
    ManyToDelete,
    ManyToTarget,
    Target,
)
from store_api.api.v1.messages import InMailbox
from store_api.messages.actions import ChangedMeanwhile, Selection, change_flags, copy_or_move, delete
from store_api.messages.finding import Found, find_mailbox
from store_api.store import Store

router = APIRouter(route_class=Idempotent, prefix="/accounts/{address}", tags=[MESSAGES])

_ETAG: Final = re.compile(r'"([0-9a-f]{32})-([0-9]{1,19})"')

IfMatch = Annotated[str | None, Header(description="`ETag` of the message: only if it hasn't changed", max_length=1000)]


@asynccontextmanager
async def _one(
    store: Store, account: OwnAccount, message_id: UUID, mailbox_id: UUID | None, if_match: str | None
) -> AsyncIterator[Selection]:
    """The message alone. Raises Refusal 412: it is not as If-Match says (RFC 9110 §13.1.1)."""
    mailbox_id = await find_mailbox(store.database, account.id, message_id, mailbox_id)
    modseqs = None
    if if_match is not None and if_match.strip() != "*":
        modseqs = frozenset(int(modseq) for mailbox, modseq in _ETAG.findall(if_match) if mailbox == mailbox_id.hex)
    try:
        yield Selection(account.id, mailbox_id, [message_id], modseqs)
    except ChangedMeanwhile as error:
        raise Refusal("precondition-failed", str(error)) from error


def _there(found: Found) -> None:
    if not found.ids:
        raise NotFound("there is no such message")


def _done(found: Found) -> Done:
    return Done(changed=found.ids, missing=found.missing)


@router.patch("/messages/{message_id}", status_code=204)
async def patch_message(
    store: TheStore,
    account: TheAccount,
    message_id: UUID,
    change: FlagChange,
    mailbox_id: InMailbox = None,
    if_match: IfMatch = None,
) -> None:
    """Change the flags of a message."""
    async with _one(store, account, message_id, mailbox_id, if_match) as selection:
        _there(await _change_flags(store, selection, change))


@router.post("/messages/{message_id}/copy", status_code=204)
async def post_copy(
    store: TheStore, account: TheAccount, message_id: UUID, target: Target, mailbox_id: InMailbox = None
) -> None:
    """Put a copy of a message into a mailbox; the copy has the same id."""
    async with _one(store, account, message_id, mailbox_id, None) as selection:
        _there(await copy_or_move(store.database, store.notifier, selection, target.mailbox_id, move=False))


@router.post("/messages/{message_id}/move", status_code=204)
async def post_move(
    store: TheStore,
    account: TheAccount,
    message_id: UUID,
    target: Target,
    mailbox_id: InMailbox = None,
    if_match: IfMatch = None,
) -> None:
    """Move a message into a mailbox."""
    async with _one(store, account, message_id, mailbox_id, if_match) as selection:
        _there(await copy_or_move(store.database, store.notifier, selection, target.mailbox_id, move=True))


@router.delete("/messages/{message_id}", status_code=204)
async def delete_message(
    store: TheStore,
    account: TheAccount,
    message_id: UUID,
    permanently: Annotated[bool, Query(description="not into the Trash, but away")] = False,
    mailbox_id: InMailbox = None,
    if_match: IfMatch = None,
) -> None:
    """Move a message into the Trash; delete it, if it is there already."""
    async with _one(store, account, message_id, mailbox_id, if_match) as selection:
        _there(await delete(store.database, store.notifier, selection, permanently=permanently))


@router.post("/mailboxes/{mailbox_id}/messages/flags")
async def post_many_flags(store: TheStore, account: TheAccount, mailbox_id: UUID, change: ManyFlagChanges) -> Done:
    """Change the flags of many messages of a mailbox."""
    return _done(await _change_flags(store, Selection(account.id, mailbox_id, change.ids), change))


@router.post("/mailboxes/{mailbox_id}/messages/copy")
async def post_many_copies(store: TheStore, account: TheAccount, mailbox_id: UUID, wanted: ManyToTarget) -> Done:
    """Copy many messages of a mailbox into another."""
    return await _transfer(store, Selection(account.id, mailbox_id, wanted.ids), wanted.mailbox_id, move=False)


@router.post("/mailboxes/{mailbox_id}/messages/move")
async def post_many_moves(store: TheStore, account: TheAccount, mailbox_id: UUID, wanted: ManyToTarget) -> Done:
    """Move many messages of a mailbox into another."""
    return await _transfer(store, Selection(account.id, mailbox_id, wanted.ids), wanted.mailbox_id, move=True)


@router.post("/mailboxes/{mailbox_id}/messages/delete")
async def post_many_deletions(store: TheStore, account: TheAccount, mailbox_id: UUID, wanted: ManyToDelete) -> Done:
    """Move many messages of a mailbox into the Trash; delete them, if they are there already."""
    selection = Selection(account.id, mailbox_id, wanted.ids)
    return _done(await delete(store.database, store.notifier, selection, permanently=wanted.permanently))


async def _change_flags(store: Store, selection: Selection, change: FlagChange) -> Found:
    return await change_flags(
        store.database, store.notifier, selection, add=change.add, remove=change.remove, replace=change.flags
    )


async def _transfer(store: Store, selection: Selection, target_id: UUID, *, move: bool) -> Done:
    return _done(await copy_or_move(store.database, store.notifier, selection, target_id, move=move))
