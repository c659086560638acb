"""REPLACE (RFC 8508): a message comes and another goes, both or neither."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import Conflict, NotFound
from mail_runtime.store_client import StoreClient

MESSAGE = b"Subject: one\r\n\r\nbody\r\n"
HEADER = wire.AppendHeader(flags=["\\Draft"])


async def counted(store: StoreClient, account: Any, name: str) -> tuple[int, int]:
    found = next(mailbox for mailbox in await store.mailboxes(account.id) if mailbox.name == name)
    return found.messages, found.octets


async def test_in_one_mailbox_and_into_another(store: StoreClient, account: Any) -> None:
    inbox, drafts = account.inbox.id, account.mailboxes["Drafts"].id
    await store.append(account.id, inbox, wire.AppendHeader(), MESSAGE)
    before = (await store.changes(account.id, inbox)).mailbox.highest_modseq
    replaced = await store.replace(account.id, inbox, 1, inbox, HEADER, b"new\r\n")
    changes = await store.changes(account.id, inbox, before)
    assert (replaced.uid, changes.uids, changes.expunged, changes.flags) == (2, [2], [1], [["\\Draft"]])
    assert replaced.modseq == changes.mailbox.highest_modseq
    elsewhere = await store.replace(account.id, inbox, 2, drafts, HEADER, b"newer\r\n")
    changes = await store.changes(account.id, inbox, replaced.modseq)
    assert (changes.expunged, elsewhere.modseq) == ([2], changes.mailbox.highest_modseq)
    assert await counted(store, account, "INBOX") == (0, 0)
    assert await counted(store, account, "Drafts") == (1, 7)


async def test_only_one_of_many_replaces_a_message(store: StoreClient, account: Any) -> None:
    """The others leave nothing behind."""
    inbox, drafts = account.inbox.id, account.mailboxes["Drafts"].id
    await store.append(account.id, inbox, wire.AppendHeader(), MESSAGE)
    targets = [inbox, drafts] * 4
    attempts = (store.replace(account.id, inbox, 1, target, HEADER, b"new\r\n") for target in targets)
    done = await asyncio.gather(*attempts, return_exceptions=True)
    assert sorted(type(one).__name__ for one in done) == ["Conflict"] * 7 + ["Replaced"]
    (in_inbox, _), (in_drafts, _) = await counted(store, account, "INBOX"), await counted(store, account, "Drafts")
    assert in_inbox + in_drafts == 1


async def test_what_isnt_there(store: StoreClient, account: Any, other_account: Any) -> None:
    inbox = account.inbox.id
    await store.append(account.id, inbox, wire.AppendHeader(), MESSAGE)
    with pytest.raises(Conflict):
        await store.replace(account.id, inbox, 2, inbox, HEADER, b"new\r\n")
    for source, target in ((inbox, uuid4()), (uuid4(), inbox), (inbox, other_account.inbox.id)):
        with pytest.raises(NotFound):
            await store.replace(account.id, source, 1, target, HEADER, b"new\r\n")
    assert await counted(store, account, "INBOX") == (1, len(MESSAGE))
