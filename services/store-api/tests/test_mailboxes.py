"""Mailboxes and the messages in them: uids, modseqs and counters always agree."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import Conflict, NotFound, Refused
from mail_runtime.store_client import StoreClient

MESSAGE = b"Subject: one\r\n\r\nbody\r\n"


async def fill(store: StoreClient, account: Any, number: int) -> None:
    for _ in range(number):
        await store.append(account.id, account.inbox.id, wire.AppendHeader(), MESSAGE)


async def names(store: StoreClient, account: Any) -> list[str]:
    return [mailbox.name for mailbox in await store.mailboxes(account.id)]


async def test_a_new_account_has_what_clients_look_for(account: Any) -> None:
    assert list(account.mailboxes) == ["INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash"]
    assert account.mailboxes["Sent"].special_use == "\\Sent"


async def test_creating_makes_superiors(store: StoreClient, account: Any) -> None:
    await store.create_mailbox(account.id, "a/b/c/")
    assert (await names(store, account))[-3:] == ["a", "a/b", "a/b/c"]
    with pytest.raises(Conflict):
        await store.create_mailbox(account.id, "a/b")
    with pytest.raises(Conflict):
        await store.create_mailbox(account.id, "inbox")


@pytest.mark.parametrize("name", ["", "/", "a//b", "/a", "a\r\nb", "a\0b", "x" * 1001, "/".join("x" * 51)])
async def test_bad_names_are_refused(store: StoreClient, account: Any, name: str) -> None:
    with pytest.raises(Refused):
        await store.create_mailbox(account.id, name)


async def test_renaming_takes_inferiors_along(store: StoreClient, account: Any) -> None:
    await store.create_mailbox(account.id, "a/b/c")
    a = next(m for m in await store.mailboxes(account.id) if m.name == "a")
    await store.change_mailbox(account.id, a.id, wire.ChangeMailbox(name="new/z"))
    assert (await names(store, account))[-4:] == ["new", "new/z", "new/z/b", "new/z/b/c"]
    with pytest.raises(Refused):
        await store.change_mailbox(account.id, a.id, wire.ChangeMailbox(name="new/z/b/x"))
    with pytest.raises(Conflict):
        await store.change_mailbox(account.id, a.id, wire.ChangeMailbox(name="Sent"))


async def test_renaming_inbox_moves_its_messages(store: StoreClient, account: Any) -> None:
    await fill(store, account, 2)
    await store.change_mailbox(account.id, account.inbox.id, wire.ChangeMailbox(name="old"))
    found = {m.name: m for m in await store.mailboxes(account.id)}
    assert (found["INBOX"].messages, found["old"].messages) == (0, 2)
    assert found["INBOX"].id == account.inbox.id


async def test_deleting_leaves_inferiors(store: StoreClient, account: Any) -> None:
    """RFC 9051 §6.3.5."""
    await store.create_mailbox(account.id, "a/b")
    found = {m.name: m for m in await store.mailboxes(account.id)}
    with pytest.raises(Refused):
        await store.delete_mailbox(account.id, account.inbox.id)
    await store.append(account.id, found["a"].id, wire.AppendHeader(), MESSAGE)
    await store.delete_mailbox(account.id, found["a"].id)
    assert (await names(store, account))[-2:] == ["Trash", "a/b"]
    for gone in (
        store.delete_mailbox(account.id, found["a"].id),
        store.changes(account.id, found["a"].id),
        store.change_mailbox(account.id, found["a"].id, wire.ChangeMailbox(name="z")),
        store.expunge(account.id, found["a"].id, wire.Expunge()),
    ):
        with pytest.raises(NotFound):
            await gone
    again = await store.create_mailbox(account.id, "a")
    assert again.uid_validity > found["a"].uid_validity
    assert (again.messages, again.uid_next) == (0, 1)


async def test_flags_are_added_removed_and_replaced(store: StoreClient, account: Any) -> None:
    await fill(store, account, 3)
    start = (await store.changes(account.id, account.inbox.id)).mailbox.highest_modseq

    async def change(operation: Any, *flags: str, uids: list[int]) -> wire.Changes:
        wanted = wire.StoreFlags(uids=uids, operation=operation, flags=list(flags))
        await store.store_flags(account.id, account.inbox.id, wanted)
        return await store.changes(account.id, account.inbox.id)

    changes = await change("add", "\\SEEN", "$work", uids=[1, 2, 99])
    assert changes.flags == [["\\Seen", "$work"], ["\\Seen", "$work"], []]
    assert changes.mailbox.unseen == 1
    changes = await change("remove", "\\Seen", "$WORK", uids=[2])
    assert changes.flags[1] == []
    assert changes.mailbox.unseen == 2
    changes = await change("replace", "\\Flagged", uids=[1])
    assert changes.flags[0] == ["\\Flagged"]
    assert changes.mailbox.highest_modseq == start + 3
    changes = await change("add", "\\Flagged", uids=[1])
    assert changes.mailbox.highest_modseq == start + 3, "what changes nothing takes no modseq"


async def test_unchanged_since_leaves_newer_ones_alone(store: StoreClient, account: Any) -> None:
    await fill(store, account, 2)
    before = (await store.changes(account.id, account.inbox.id)).mailbox.highest_modseq
    add = wire.StoreFlags(uids=[1], operation="add", flags=["\\Seen"])
    await store.store_flags(account.id, account.inbox.id, add)
    later = wire.StoreFlags(uids=[1, 2], operation="add", flags=["\\Deleted"], unchanged_since=before)
    assert (await store.store_flags(account.id, account.inbox.id, later)).modified == [1]
    assert (await store.changes(account.id, account.inbox.id)).flags == [["\\Seen"], ["\\Deleted"]]


async def test_changes_since_a_modseq(store: StoreClient, account: Any) -> None:
    await fill(store, account, 4)
    since = (await store.changes(account.id, account.inbox.id)).mailbox.highest_modseq
    add = wire.StoreFlags(uids=[2, 3], operation="add", flags=["\\Deleted"])
    await store.store_flags(account.id, account.inbox.id, add)
    assert (await store.expunge(account.id, account.inbox.id, wire.Expunge(uids=[1, 3]))).uids == [3]
    await fill(store, account, 1)
    changes = await store.changes(account.id, account.inbox.id, since)
    assert (changes.uids, changes.expunged) == ([2, 5], [3])
    assert (await store.changes(account.id, account.inbox.id)).expunged == []


async def test_copying_and_moving(store: StoreClient, account: Any) -> None:
    await fill(store, account, 4)
    target = account.mailboxes["Archive"]
    copied = await store.copy(account.id, account.inbox.id, wire.CopyMessages(uids=[1, 3, 99], target_id=target.id))
    assert (copied.source_uids, copied.target_uids) == ([1, 3], [1, 2])
    move = wire.CopyMessages(uids=[2], target_id=target.id, move=True)
    assert (await store.copy(account.id, account.inbox.id, move)).target_uids == [3]
    inbox = await store.changes(account.id, account.inbox.id)
    archive = await store.changes(account.id, target.id)
    assert inbox.uids == [1, 3, 4]
    assert (archive.mailbox.messages, archive.mailbox.uid_next) == (3, 4)
    assert archive.mailbox.octets == 3 * len(MESSAGE)
    within = wire.CopyMessages(uids=[1], target_id=account.inbox.id, move=True)
    assert (await store.copy(account.id, account.inbox.id, within)).target_uids == [5]
    assert (await store.changes(account.id, account.inbox.id)).uids == [3, 4, 5]
    with pytest.raises(NotFound):
        await store.copy(account.id, account.inbox.id, wire.CopyMessages(uids=[3], target_id=uuid4()))


async def test_many_at_once_keep_the_counters_right(store: StoreClient, account: Any) -> None:
    """Copies in both directions, flags and expunges at the same time: no deadlock, no lost count."""
    await fill(store, account, 10)
    archive = account.mailboxes["Archive"]
    await store.copy(account.id, account.inbox.id, wire.CopyMessages(uids=[1, 2, 3], target_id=archive.id))
    work: list[Any] = []
    for uid in range(1, 11):
        flag = wire.StoreFlags(uids=[uid], operation="add", flags=["\\Seen"])
        work += [
            store.copy(account.id, account.inbox.id, wire.CopyMessages(uids=[uid], target_id=archive.id)),
            store.copy(account.id, archive.id, wire.CopyMessages(uids=[1], target_id=account.inbox.id)),
            store.store_flags(account.id, account.inbox.id, flag),
            store.expunge(account.id, account.inbox.id, wire.Expunge(uids=[uid], force=uid % 2 == 0)),
        ]
    await asyncio.gather(*work)
    for mailbox_id in (account.inbox.id, archive.id):
        changes = await store.changes(account.id, mailbox_id)
        assert changes.mailbox.messages == len(changes.uids)
        assert changes.mailbox.octets == sum(changes.octets)
        assert changes.mailbox.unseen == sum("\\Seen" not in flags for flags in changes.flags)
        assert changes.mailbox.uid_next > max(changes.uids)
        assert changes.mailbox.highest_modseq >= max(changes.modseqs)


async def test_maildrop_lock_is_exclusive(store: StoreClient, account: Any) -> None:
    first, second = wire.MaildropLock(owner=uuid4()), wire.MaildropLock(owner=uuid4())
    await store.lock_maildrop(account.id, first)
    await store.lock_maildrop(account.id, first)
    with pytest.raises(Conflict):
        await store.lock_maildrop(account.id, second)
    await store.unlock_maildrop(account.id, second.owner)
    with pytest.raises(Conflict):
        await store.lock_maildrop(account.id, second)
    await store.unlock_maildrop(account.id, first.owner)
    await store.lock_maildrop(account.id, second)


async def test_changes_over_rest_are_in_the_audit_log(
    rest: aiohttp.ClientSession, store: StoreClient, account: Any
) -> None:
    """Who administers may look into an account; what clients do by IMAP is their own business."""
    path = f"/v1/accounts/{account.address}/mailboxes"
    async with rest.post(path, json={"name": "Work"}) as response:
        work = (await response.json())["id"]
    async with rest.patch(f"{path}/{work}", json={"name": "Done", "retention_days": 30}) as response:
        assert response.status == 200
    async with rest.delete(f"{path}/{work}", headers={"If-Match": '"other"'}) as response:
        assert response.status == 412
    async with rest.delete(f"{path}/{work}") as response:
        assert response.status == 204
    await store.create_mailbox(account.id, "By a client")
    async with rest.get("/v1/audit", params={"object": account.address, "limit": 100}) as response:
        rows = (await response.json())["items"]
    assert [(row["action"], row["detail"]) for row in reversed(rows) if row["action"].startswith("mailbox.")] == [
        ("mailbox.create", {"mailbox": "Work"}),
        ("mailbox.change", {"mailbox": "Work", "name": "Done", "retention_days": 30}),
        ("mailbox.delete", {"mailbox": "Done", "messages": 0}),
    ]
