"""Flags, copies and expunges: bad input, sets of uids, quota, tombstones."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest

from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import OverQuota, Refused
from mail_runtime.contracts.store.uids import MAX_RANGES, MAX_UID, compact, joined
from mail_runtime.store_client import StoreClient
from store_api.db.engine import Database, run

MESSAGE = b"Subject: one\r\n\r\nbody\r\n"


async def fill(store: StoreClient, account: Any, number: int, *flags: str) -> None:
    for _ in range(number):
        await store.append(account.id, account.inbox.id, wire.AppendHeader(flags=list(flags)), MESSAGE)


async def rows_of(database: Database, account_id: UUID, mailbox_id: UUID, table: str = "message") -> list[Any]:
    async with database.transaction() as connection:
        rows = await run(
            connection,
            f"SELECT * FROM {table} WHERE account_id = :account_id AND mailbox_id = :mailbox_id ORDER BY uid",
            account_id=account_id,
            mailbox_id=mailbox_id,
        )
        return list(rows)


def test_sets_of_uids_are_joined() -> None:
    assert joined([5, (7, 9), 1, 2, (8, 12), 6, (30, 30)]) == [(1, 2), (5, 12), (30, 30)]
    assert joined([(1, MAX_UID)]) == [(1, MAX_UID)]
    assert joined([]) == []
    for bad in ([0], [(3, 2)], [MAX_UID + 1], [(0, 5)], [-1], [(1, MAX_UID + 1)]):
        with pytest.raises(Refused):
            joined(bad)
    with pytest.raises(Refused, match="ranges"):
        joined(range(1, 2 * MAX_RANGES + 2, 2))
    assert joined(list(range(1, 1_000_000))) == [(1, 999_999)]
    assert compact([1, 2, 3, 7, 9, 10]) == [(1, 3), 7, (9, 10)]
    assert compact([]) == []


def test_sets_of_uids_cross_the_wire_as_ranges() -> None:
    change = wire.StoreFlags(uids=[1, (5, 1_000_000_000)], operation="add", flags=[])
    octets = msgspec.msgpack.encode(change)
    assert len(octets) < 60
    assert msgspec.msgpack.decode(octets, type=wire.StoreFlags) == change


async def test_ranges_reach_what_is_there(store: StoreClient, account: Any) -> None:
    await fill(store, account, 6)
    target = account.mailboxes["Archive"].id
    seen = wire.StoreFlags(uids=[(5, 1_000_000_000), (1, 2), 2, (4, 5)], operation="add", flags=["\\Seen"])
    await store.store_flags(account.id, account.inbox.id, seen)
    flags = (await store.changes(account.id, account.inbox.id)).flags
    assert ["\\Seen" in each for each in flags] == [True, True, False, True, True, True]
    copied = await store.copy(
        account.id, account.inbox.id, wire.CopyMessages(uids=[(2, 4), (3, MAX_UID)], target_id=target)
    )
    assert (copied.source_uids, copied.target_uids) == ([2, 3, 4, 5, 6], [1, 2, 3, 4, 5])
    gone = await store.expunge(account.id, account.inbox.id, wire.Expunge(uids=[(4, MAX_UID), 1], force=True))
    assert gone.uids == [1, 4, 5, 6]
    changes = await store.changes(account.id, account.inbox.id)
    assert (changes.uids, changes.mailbox.messages, changes.mailbox.unseen) == ([2, 3], 2, 1)


@pytest.mark.parametrize("uids", [[0], [(2, 1)], [2**40], [-1]])
async def test_what_are_no_uids_is_refused(store: StoreClient, account: Any, uids: Any) -> None:
    await fill(store, account, 1)
    for call in (
        store.store_flags(account.id, account.inbox.id, wire.StoreFlags(uids=uids, operation="add", flags=["x"])),
        store.copy(account.id, account.inbox.id, wire.CopyMessages(uids=uids, target_id=account.inbox.id)),
        store.expunge(account.id, account.inbox.id, wire.Expunge(uids=uids, force=True)),
    ):
        with pytest.raises(Refused, match="uids"):
            await call
    changes = await store.changes(account.id, account.inbox.id)
    assert (changes.uids, changes.flags) == ([1], [[]])


@pytest.mark.parametrize(
    "flag", ["", "a b", "a(b", "(", "]", "%", "*", '"', "\\Invented", "\\*", "é", "a\0", "x" * 201]
)
async def test_what_are_no_flags_is_refused(store: StoreClient, account: Any, flag: str) -> None:
    await fill(store, account, 1)
    with pytest.raises(Refused):
        await store.store_flags(
            account.id, account.inbox.id, wire.StoreFlags(uids=[1], operation="add", flags=["ok", flag])
        )
    assert (await store.changes(account.id, account.inbox.id)).flags == [[]]


async def test_a_message_has_only_so_many_flags(store: StoreClient, account: Any) -> None:
    await fill(store, account, 2)
    before = (await store.changes(account.id, account.inbox.id)).mailbox
    many = [f"k{number}" for number in range(100)]

    async def add(*flags: str, uids: list[int]) -> None:
        change = wire.StoreFlags(uids=uids, operation="add", flags=list(flags))
        await store.store_flags(account.id, account.inbox.id, change)

    with pytest.raises(Refused, match="at most"):
        await add(*many, "more", uids=[1])
    await add(*many, uids=[1])
    with pytest.raises(Refused, match="at most"):
        await add("more", uids=[1, 2])
    changes = await store.changes(account.id, account.inbox.id)
    assert [len(flags) for flags in changes.flags] == [100, 0], "nothing of what was refused is kept"
    assert changes.mailbox.highest_modseq == before.highest_modseq + 1


async def test_nothing_is_older_than_modseq_zero(store: StoreClient, account: Any) -> None:
    """RFC 7162 §3.1.3: UNCHANGEDSINCE 0 fails for every message that is there."""
    await fill(store, account, 2)
    change = wire.StoreFlags(uids=[(1, 9)], operation="add", flags=["\\Seen"], unchanged_since=0)
    assert (await store.store_flags(account.id, account.inbox.id, change)).modified == [1, 2]


async def test_a_copy_is_the_same_mail(store: StoreClient, database: Database, account: Any) -> None:
    await fill(store, account, 1, "\\Flagged", "$Work")
    async with database.transaction() as connection:
        await run(
            connection,
            "UPDATE message SET thread_id = email_id, saved_date = 5 WHERE account_id = :account_id",
            account_id=account.id,
        )
    target = account.mailboxes["Archive"].id
    await store.copy(account.id, account.inbox.id, wire.CopyMessages(uids=[1], target_id=target))
    (original,) = await rows_of(database, account.id, account.inbox.id)
    (copy,) = await rows_of(database, account.id, target)
    for column in ("blob_id", "email_id", "thread_id", "flags", "internal_date", "octets"):
        assert getattr(copy, column) == getattr(original, column), column
    assert (original.saved_date, copy.saved_date > 5) == (5, True), "a copy is saved when it is made (RFC 8514)"


async def test_copying_is_bounded_by_the_quota(store: StoreClient, database: Database, account: Any) -> None:
    await fill(store, account, 2)
    async with database.transaction() as connection:
        await run(connection, "UPDATE account SET quota_messages = 3 WHERE id = :id", id=account.id)
    archive = account.mailboxes["Archive"].id
    with pytest.raises(OverQuota):
        await store.copy(account.id, account.inbox.id, wire.CopyMessages(uids=[1, 2], target_id=archive))
    assert (await store.changes(account.id, archive)).uids == [], "all or nothing"
    await store.copy(account.id, account.inbox.id, wire.CopyMessages(uids=[1], target_id=archive))
    move = wire.CopyMessages(uids=[1, 2], target_id=archive, move=True)
    assert (await store.copy(account.id, account.inbox.id, move)).target_uids == [2, 3], "moving needs no room"


async def test_tombstones_keep_what_undelete_needs(store: StoreClient, database: Database, account: Any) -> None:
    await fill(store, account, 3, "\\Seen")
    messages = await rows_of(database, account.id, account.inbox.id)
    await store.expunge(account.id, account.inbox.id, wire.Expunge(uids=[1], force=True))
    archive = account.mailboxes["Archive"].id
    await store.copy(account.id, account.inbox.id, wire.CopyMessages(uids=[2], target_id=archive, move=True))
    expunged, moved = await rows_of(database, account.id, account.inbox.id, "expunged")
    for column in ("uid", "blob_id", "email_id", "flags", "internal_date", "octets"):
        assert getattr(expunged, column) == getattr(messages[0], column), column
    assert expunged.mailbox_name == "INBOX"
    assert (moved.uid, moved.blob_id) == (2, None), "what was moved is still there"
