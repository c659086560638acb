"""What is kept of large mailboxes is what the database would say."""

from __future__ import annotations

import struct
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import NotFound
from mail_runtime.contracts.store.columns import changes_of
from mail_runtime.contracts.store.uids import compact
from mail_runtime.store_client import StoreClient
from store_api.db.engine import Database, run
from store_api.mailboxes.kept import MAX_REMOVED, MIN_MESSAGES, KeptMailboxes, patched

ACCOUNT = UUID(int=1)
MAILBOX = wire.Mailbox(
    id=UUID(int=2),
    name="INBOX",
    uid_validity=1,
    uid_next=1,
    highest_modseq=1,
    messages=0,
    unseen=0,
    octets=0,
    subscribed=True,
)
Messages = dict[int, tuple[int, tuple[str, ...]]]  # uid → modseq, flags


def columns_of(
    messages: Messages, *, expunged: list[int] | None = None, mailbox: wire.Mailbox = MAILBOX
) -> wire.Columns:
    numbers: dict[tuple[str, ...], int] = {}
    words, flags = b"", b""
    for uid, (modseq, flag_set) in sorted(messages.items()):
        words += struct.pack(">6q", uid, modseq, -uid, uid * 10, uid, modseq)
        flags += struct.pack(">I", numbers.setdefault(flag_set, len(numbers)))
    return wire.Columns(
        mailbox=mailbox,
        is_whole=expunged is None,
        words=words,
        flag_sets=[list(flag_set) for flag_set in numbers],
        flags=flags,
        expunged=compact(expunged or []),
    )


flag_sets = st.sampled_from([(), ("\\Seen",), ("a", "b"), ("c",)])


@given(
    old=st.dictionaries(st.integers(1, 30), flag_sets, max_size=20),
    changed=st.dictionaries(st.integers(1, 30), flag_sets),
    gone=st.sets(st.integers(1, 30)),
    arrived=st.lists(flag_sets, max_size=5),
)
@settings(max_examples=300, deadline=None)
def test_patching_gives_what_reading_gives(
    old: dict[int, tuple[str, ...]],
    changed: dict[int, tuple[str, ...]],
    gone: set[int],
    arrived: list[tuple[str, ...]],
) -> None:
    before: Messages = {uid: (1, flags) for uid, flags in old.items()}
    recent: Messages = {uid: (2, flags) for uid, flags in changed.items() if uid in old and uid not in gone}
    recent |= {uid: (2, flags) for uid, flags in enumerate(arrived, 31)}
    after = {uid: message for uid, message in (before | recent).items() if uid not in gone}
    newer = msgspec.structs.replace(MAILBOX, highest_modseq=2, uid_validity=7)
    result = patched(columns_of(before), columns_of(recent, expunged=sorted(gone), mailbox=newer))
    assert result is not None
    assert changes_of(result) == changes_of(columns_of(after, mailbox=newer))


def test_what_is_too_much_is_read_anew() -> None:
    kept = columns_of(dict.fromkeys(range(1, 200), (1, ())))
    assert patched(kept, columns_of({}, expunged=list(range(1, MAX_REMOVED + 2)))) is None
    assert patched(kept, columns_of({}, expunged=list(range(1, MAX_REMOVED + 1)))) is not None


def test_what_was_used_last_is_kept_within_bounds() -> None:
    large = columns_of(dict.fromkeys(range(1, MIN_MESSAGES + 1), (1, ())))
    size = len(large.words) + len(large.flags)
    kept = KeptMailboxes(2 * size)
    ids = [uuid4() for _ in range(3)]

    def put(mailbox_id: UUID, columns: wire.Columns = large) -> None:
        mailbox = msgspec.structs.replace(MAILBOX, id=mailbox_id)
        kept.put(ACCOUNT, msgspec.structs.replace(columns, mailbox=mailbox))

    for mailbox_id in ids[:2]:
        put(mailbox_id)
    assert kept.get(ACCOUNT, ids[0]) is not None
    put(ids[0])
    put(ids[2])
    assert [kept.get(ACCOUNT, mailbox_id) is not None for mailbox_id in ids] == [True, False, True]
    assert kept.get(uuid4(), ids[0]) is None, "of another account"
    put(ids[0], columns_of({1: (1, ())}))
    assert kept.get(ACCOUNT, ids[0]) is None, "small ones aren't kept"
    put(ids[1])
    assert kept.get(ACCOUNT, ids[2]) is not None, "there was room for both"


async def test_a_large_mailbox_is_always_as_it_is_now(store: StoreClient, database: Database, account: Any) -> None:
    inbox, number = account.inbox.id, MIN_MESSAGES + 10
    await store.append(account.id, inbox, wire.AppendHeader(), b"Subject: x\r\n\r\n")
    async with database.transaction() as connection:
        values = {"account_id": account.id, "mailbox_id": inbox, "number": number}
        await run(
            connection,
            "INSERT INTO message (account_id, mailbox_id, uid, blob_id, modseq, flags, internal_date, email_id, octets)"
            " SELECT account_id, mailbox_id, n, blob_id, modseq, flags, n, gen_random_uuid(), 1"
            " FROM message CROSS JOIN generate_series(2, :number) AS n"
            " WHERE account_id = :account_id AND mailbox_id = :mailbox_id",
            **values,
        )
        await run(
            connection,
            "UPDATE mailbox SET uid_next = :number + 1, messages = :number, unseen = :number"
            " WHERE account_id = :account_id AND id = :mailbox_id",
            **values,
        )

    async def check() -> None:
        # Columns with objects are never kept.
        fresh = await store.columns(account.id, inbox, with_objects=True)
        assert changes_of(await store.columns(account.id, inbox)) == changes_of(fresh)

    await check()
    await check()
    flags = wire.StoreFlags(uids=[(5, 9), number], operation="add", flags=["\\Seen", "$Work"])
    await store.store_flags(account.id, inbox, flags)
    await check()
    await store.expunge(account.id, inbox, wire.Expunge(uids=[(1, 3), 7, number], force=True))
    await check()
    await store.copy(account.id, inbox, wire.CopyMessages(uids=[(5, 8)], target_id=inbox, move=True))
    await store.append(account.id, inbox, wire.AppendHeader(flags=["new"]), b"Subject: y\r\n\r\n")
    await check()
    await store.expunge(account.id, inbox, wire.Expunge(uids=[(1, MAX_REMOVED + 50)], force=True))
    await check()
    made = await store.create_mailbox(account.id, "other")
    await store.copy(account.id, inbox, wire.CopyMessages(uids=[(1, 2**31)], target_id=made.id))
    await store.columns(account.id, made.id)
    await store.delete_mailbox(account.id, made.id)
    with pytest.raises(NotFound):
        await store.columns(account.id, made.id)
