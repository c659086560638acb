"""Changes of flags that are made together: each as if it had come alone, and none in the way of another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
from msgspec import structs

from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import NotFound, Refused
from mail_runtime.contracts.store.columns import changes_of
from mail_runtime.contracts.store.mailboxes import MOST_TOGETHER
from mail_runtime.store_client import StoreClient
from mail_testkit.clients import TIMEOUT_S
from store_api.db.engine import Database, fetch, run
from store_api.mailboxes import plain_flags

from .conftest import MESSAGE, Account, make_account

# Flags of the messages that each mailbox begins with.
FLAGS: Sequence[list[str]] = ([], ["\\Seen"], ["$Work", "\\Seen"], ["$WORK"])
# Operation, flags, uids; and what the messages have afterwards.
CHANGES: Sequence[tuple[Any, list[str], list[Any], list[list[str]]]] = (
    ("add", ["\\Flagged"], [(1, 4)], [[*flags, "\\Flagged"] for flags in FLAGS]),
    ("add", ["\\SEEN", "$work"], [2, (3, 9)], [[], ["\\Seen", "$work"], ["$Work", "\\Seen"], ["$WORK", "\\Seen"]]),
    ("add", [], [(1, 4)], list(FLAGS)),
    ("add", ["\\Recent"], [1], list(FLAGS)),
    ("remove", ["$work"], [(1, 4)], [[], ["\\Seen"], ["\\Seen"], []]),
    ("remove", ["\\Seen", "$Other"], [(2, 3)], [[], [], ["$Work"], ["$WORK"]]),
    ("add", ["\\Flagged", "\\Seen"], [(1, 4)], [[*flags, "\\Flagged", *({"\\Seen"} - {*flags})] for flags in FLAGS]),
    ("remove", ["\\Flagged", "\\Seen"], [(1, 4)], [[], [], ["$Work"], ["$WORK"]]),
    ("remove", ["\\SEEN"], [(1, 4)], [[], [], ["$Work"], ["$WORK"]]),
    ("replace", ["\\Seen"], [(1, 4)], [["\\Seen"]] * 4),
    ("replace", ["\\seen", "$Work"], [(1, 3)], [["\\Seen", "$Work"]] * 2 + [["$Work", "\\Seen"], ["$WORK"]]),
    ("replace", [], [(1, 4)], [[], [], [], []]),
    ("add", ["\\Seen"], [17], list(FLAGS)),
)


async def fill(store: StoreClient, rest: aiohttp.ClientSession) -> Account:
    account = await make_account(store, rest)
    headers = [wire.AppendHeader(flags=flags) for flags in FLAGS]
    await store.append_all(account.id, account.inbox.id, headers, [MESSAGE] * len(FLAGS))
    return account


async def together(store: StoreClient, *sets: wire.FlagSet) -> list[wire.FlagsStored | None]:
    """As frontends ask for several."""
    return list(await store._store_flag_sets(sets))


def flag_set(account: Account, operation: Any, flags: list[str], uids: Any = (1,), **values: Any) -> wire.FlagSet:
    change = wire.StoreFlags(uids=uids, operation=operation, flags=flags, **values)
    return wire.FlagSet(account_id=account.id, mailbox_id=account.inbox.id, change=change)


async def test_each_is_changed_and_answered_as_if_it_had_come_alone(
    store: StoreClient, rest: aiohttp.ClientSession
) -> None:
    accounts = [await fill(store, rest) for _ in CHANGES]
    before = [(await store.columns(one.id, one.inbox.id)).mailbox for one in accounts]
    sets = [
        flag_set(one, operation, flags, uids, seen=mailbox.highest_modseq)
        for one, mailbox, (operation, flags, uids, _) in zip(accounts, before, CHANGES, strict=True)
    ]
    answers = await together(store, *sets)
    for one, mailbox, (operation, flags, uids, after), stored in zip(accounts, before, CHANGES, answers, strict=True):
        assert stored is not None
        since = await store.columns(one.id, one.inbox.id, mailbox.highest_modseq)
        assert stored == wire.FlagsStored(modseq=since.mailbox.highest_modseq, changes=since)
        whole = await store.changes(one.id, one.inbox.id)
        assert [sorted(each) for each in whole.flags] == [sorted(each) for each in after], (operation, flags, uids)
        assert whole.mailbox.unseen == sum("\\Seen" not in each for each in after)
        changed = [now for now, then in zip(after, FLAGS, strict=True) if sorted(now) != sorted(then)]
        assert len(since) == len(changed)
        assert whole.mailbox.highest_modseq == mailbox.highest_modseq + bool(changed)


async def test_changes_of_one_mailbox_come_one_after_the_other(store: StoreClient, rest: aiohttp.ClientSession) -> None:
    account, other = await fill(store, rest), await fill(store, rest)
    seen = (await store.columns(account.id, account.inbox.id)).mailbox.highest_modseq
    first, of_other, second, third = await together(
        store,
        flag_set(account, "add", ["$One"], seen=seen),
        flag_set(other, "add", ["$One"], seen=seen),
        flag_set(account, "add", ["$Two"], seen=seen),
        flag_set(account, "remove", ["$One"], [1, 2], seen=seen),
    )
    assert first is not None
    assert second is not None
    assert third is not None
    assert of_other is not None
    assert [one.modseq for one in (first, of_other, second, third)] == [seen + 1, seen + 1, seen + 2, seen + 3]
    assert third.changes is not None
    assert changes_of(third.changes).flags == [["$Two"]], "with what the ones before it have done"
    assert (await store.columns(account.id, account.inbox.id, seen)) == third.changes


async def test_who_is_behind_is_told_what_others_have_changed(store: StoreClient, rest: aiohttp.ClientSession) -> None:
    account, other = await fill(store, rest), await fill(store, rest)
    seen = (await store.columns(account.id, account.inbox.id)).mailbox.highest_modseq
    await store.expunge(account.id, account.inbox.id, wire.Expunge(uids=[3], force=True))
    behind, knows_nothing = await together(
        store, flag_set(account, "add", ["\\Flagged"], seen=seen), flag_set(other, "add", ["\\Flagged"])
    )
    assert behind is not None
    assert behind.changes == await store.columns(account.id, account.inbox.id, seen)
    assert changes_of(behind.changes).expunged == [3]
    assert knows_nothing is not None
    assert knows_nothing.changes is None


async def test_what_cant_be_done_together_is_left_and_the_others_are_stored(
    store: StoreClient, rest: aiohttp.ClientSession, other_account: Account
) -> None:
    """All of them then go alone, where those that are wrong are refused."""
    account, plain, crowded = await fill(store, rest), await fill(store, rest), await fill(store, rest)
    await store.store_flags(crowded.id, crowded.inbox.id, keywords(plain_flags.MAX_FLAGS - 1))
    nowhere = Account(account.id, account.address, {"INBOX": with_id(account.inbox, uuid4())})
    of_another = Account(account.id, account.address, {"INBOX": other_account.inbox})
    odd = [
        flag_set(account, "add", ["not a flag"]),
        flag_set(account, "add", ["\\Flagged"], [0]),
        flag_set(account, "add", ["\\Flagged"], unchanged_since=1),
        flag_set(account, "add", ["\\Flagged"], [(1, MOST_TOGETHER + 1)]),
        flag_set(nowhere, "add", ["\\Flagged"]),
        flag_set(of_another, "add", ["\\Flagged"]),
        flag_set(crowded, "add", ["$One", "$Two"], [1, 2]),
    ]
    answers = await together(store, *odd, flag_set(plain, "add", ["\\Flagged"]))
    assert answers[:-1] == [None] * len(odd)
    assert answers[-1] == wire.FlagsStored(modseq=plain.inbox.highest_modseq + 2)
    assert (await store.changes(account.id, account.inbox.id)).flags == list(FLAGS)
    assert len((await store.changes(crowded.id, crowded.inbox.id)).flags[0]) == plain_flags.MAX_FLAGS - 1
    results = await asyncio.gather(
        *(store.store_flags(one.account_id, one.mailbox_id, one.change) for one in odd), return_exceptions=True
    )
    refused = [Refused, Refused, wire.FlagsStored, wire.FlagsStored, NotFound, NotFound, Refused]
    assert [type(result) for result in results] == refused


def keywords(number: int) -> wire.StoreFlags:
    return wire.StoreFlags(uids=[1], operation="replace", flags=[f"k{n}" for n in range(number)])


def with_id(mailbox: wire.Mailbox, mailbox_id: UUID) -> wire.Mailbox:
    return structs.replace(mailbox, id=mailbox_id)


async def test_nobody_waits_for_a_mailbox_that_is_locked(
    store: StoreClient, rest: aiohttp.ClientSession, database: Database
) -> None:
    locked, free = await fill(store, rest), await fill(store, rest)
    change = flag_set(locked, "add", ["\\Flagged"])
    async with database.transaction() as connection:
        await run(connection, "SELECT id FROM mailbox WHERE id = :id FOR UPDATE", id=locked.inbox.id)
        async with asyncio.timeout(TIMEOUT_S):
            left, done = await together(store, change, flag_set(free, "add", ["\\Flagged"]))
        assert left is None
        assert done is not None
        alone = asyncio.create_task(store.store_flags(locked.id, locked.inbox.id, change.change))
        await waits(database, "mailbox")
    assert (await alone).modseq == locked.inbox.highest_modseq + 2


async def waits(database: Database, table: str) -> None:
    """Return once somebody waits for a lock on behalf of a statement about the table."""
    sql = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE :pattern"
    async with asyncio.timeout(TIMEOUT_S):
        while not await database.fetch(sql, pattern=f"%{table}%"):
            await asyncio.sleep(0)


async def test_what_was_changed_since_the_statement_began_is_left(
    store: StoreClient, rest: aiohttp.ClientSession, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would see the messages as they were, and the mailbox as it is."""
    changing, quiet = await fill(store, rest), await fill(store, rest)
    waiting = plain_flags._STORE.replace(
        "WITH wanted AS MATERIALIZED (", "WITH wanted AS MATERIALIZED (SELECT pg_advisory_xact_lock(17), w.* FROM ("
    ).replace("), held AS", ") AS w), held AS")
    assert waiting.count("pg_advisory_xact_lock") == waiting.count(") AS w), held AS") == 1
    turn = plain_flags._turns([flag_set(changing, "add", ["\\Flagged"]), flag_set(quiet, "add", ["\\Flagged"])])[0]
    async with database.transaction() as connection:
        await fetch(connection, "SELECT pg_advisory_xact_lock(17)")
        task = asyncio.create_task(database.fetch(waiting, **plain_flags._values(turn)))
        await waits(database, "pg_advisory_xact_lock(17), w")
        await store.store_flags(
            changing.id, changing.inbox.id, wire.StoreFlags(uids=[1], operation="add", flags=["$First"])
        )
    [row] = await task
    assert row.id == quiet.inbox.id
    assert (await store.changes(changing.id, changing.inbox.id)).flags == [["$First"], *FLAGS[1:]]


async def test_many_sessions_at_once_lose_nothing(store: StoreClient, rest: aiohttp.ClientSession) -> None:
    """Own mailboxes and the same ones, in requests of many and alone, beside copies and expunges."""
    accounts = [await fill(store, rest) for _ in range(4)]
    one_by_one = [
        store.store_flags(one.id, one.inbox.id, wire.StoreFlags(uids=[(1, 3)], operation="add", flags=[f"k{n}"]))
        for n in range(12)
        for one in accounts
    ]
    others: list[Any] = [
        work
        for one in accounts
        for work in (
            store.copy(one.id, one.inbox.id, wire.CopyMessages(uids=[1], target_id=one.mailboxes["Archive"].id)),
            store.expunge(one.id, one.inbox.id, wire.Expunge(uids=[4], force=True)),
        )
    ]
    stored = (await asyncio.gather(*one_by_one, *others))[: len(one_by_one)]
    for number, one in enumerate(accounts):
        modseqs = [answer.modseq for answer in stored[number :: len(accounts)]]
        assert len(set(modseqs)) == len(modseqs), "each has a modseq of its own"
        whole = await store.changes(one.id, one.inbox.id)
        assert whole.uids == [1, 2, 3]
        assert all({f"k{n}" for n in range(12)} <= set(flags) for flags in whole.flags)
        assert max(whole.modseqs) == max(modseqs)
