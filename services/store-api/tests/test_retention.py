"""What ends by time: mail in Trash and Junk, and tombstones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from mail_runtime.bus import Bus
from mail_runtime.contracts import store as wire
from mail_runtime.store_client import StoreClient
from mail_testkit.running import RunningPostroom
from store_api.db.engine import Database, run
from store_api.events.notifier import Notifier
from store_api.mailboxes.retention import BATCH, Retention

MESSAGE = b"Subject: one\r\n\r\nbody\r\n"
TOMBSTONE_DAYS = 30


@pytest.fixture
async def retention(postroom: RunningPostroom, database: Database) -> AsyncIterator[Retention]:
    async with Bus(postroom.nats_url, "test") as bus:
        yield Retention(database, Notifier(bus), TOMBSTONE_DAYS)


async def fill(store: StoreClient, account: Any, mailbox: str, number: int) -> UUID:
    mailbox_id: UUID = account.mailboxes[mailbox].id
    for _ in range(number):
        await store.append(account.id, mailbox_id, wire.AppendHeader(), MESSAGE)
    return mailbox_id


async def execute(database: Database, sql: str, **values: Any) -> None:
    async with database.transaction() as connection:
        await run(connection, sql, **values)


async def age(database: Database, account: Any, mailbox_id: UUID, days: int, *, upto: int = 1 << 32) -> None:
    """As if the messages up to that uid had come so many days ago."""
    await execute(
        database,
        "UPDATE message SET saved_date = saved_date - :days * 86400"
        " WHERE account_id = :account_id AND mailbox_id = :mailbox_id AND uid <= :upto",
        account_id=account.id,
        mailbox_id=mailbox_id,
        days=days,
        upto=upto,
    )


async def own_domain(database: Database, account: Any, **days: int) -> None:
    domain_id = uuid4()
    columns = "".join(f", {name}" for name in days)
    values = "".join(f", :{name}" for name in days)
    sql = f"INSERT INTO domain (id, name{columns}) VALUES (:id, :name{values})"
    await execute(database, sql, id=domain_id, name=f"{domain_id.hex[:12]}.test", **days)
    await execute(database, "UPDATE account SET domain_id = :d WHERE id = :id", d=domain_id, id=account.id)


async def uids(store: StoreClient, account: Any, mailbox_id: UUID) -> list[int]:
    return (await store.changes(account.id, mailbox_id)).uids


async def test_trash_and_junk_are_emptied(
    store: StoreClient, database: Database, account: Any, other_account: Any, retention: Retention
) -> None:
    await own_domain(database, account, trash_days=10, junk_days=5)
    trash, junk = [await fill(store, account, name, 3) for name in ("Trash", "Junk")]
    archive = await fill(store, account, "Archive", 1)
    foreign = await fill(store, other_account, "Trash", 1)
    await age(database, account, trash, 11, upto=2)
    await age(database, account, junk, 6, upto=1)
    await age(database, account, archive, 1000)
    await age(database, other_account, foreign, 1000)
    await retention.look()
    assert await uids(store, account, trash) == [3]
    assert await uids(store, account, junk) == [2, 3]
    assert await uids(store, account, archive) == [1]
    assert await uids(store, other_account, foreign) == [1], "its domain says nothing"
    changes = await store.changes(account.id, trash)
    assert (changes.mailbox.messages, changes.mailbox.octets) == (1, len(MESSAGE))


async def test_a_mailbox_has_its_own_days(
    store: StoreClient, database: Database, account: Any, retention: Retention
) -> None:
    await own_domain(database, account, trash_days=10)
    trash, archive = [await fill(store, account, name, 1) for name in ("Trash", "Archive")]
    await store.change_mailbox(account.id, trash, wire.ChangeMailbox(retention_days=0))
    await store.change_mailbox(account.id, archive, wire.ChangeMailbox(retention_days=3))
    await age(database, account, trash, 11)
    await age(database, account, archive, 4)
    await retention.look()
    assert (await uids(store, account, trash), await uids(store, account, archive)) == ([1], [])


async def test_moving_into_trash_starts_the_days(
    store: StoreClient, database: Database, account: Any, retention: Retention
) -> None:
    await own_domain(database, account, trash_days=10)
    inbox = await fill(store, account, "INBOX", 1)
    await age(database, account, inbox, 1000)
    trash = account.mailboxes["Trash"].id
    await store.copy(account.id, inbox, wire.CopyMessages(uids=[1], target_id=trash, move=True))
    await retention.look()
    assert await uids(store, account, trash) == [1]


async def test_large_mailboxes_are_emptied_in_batches_by_several_at_once(
    store: StoreClient, database: Database, account: Any, retention: Retention
) -> None:
    await own_domain(database, account, trash_days=1)
    trash = await fill(store, account, "Trash", 1)
    (place,) = (await store.changes(account.id, trash)).blob_ids
    number = 2 * BATCH + 10
    await execute(
        database,
        "INSERT INTO message (account_id, mailbox_id, uid, blob_id, modseq, flags, internal_date, email_id, octets)"
        " SELECT :account_id, :mailbox_id, n, :blob_id, 2, '{}', 0, gen_random_uuid(), 1"
        " FROM generate_series(2, :number) AS n",
        account_id=account.id,
        mailbox_id=trash,
        blob_id=place,
        number=number,
    )
    await execute(
        database,
        "UPDATE mailbox SET messages = :n, unseen = :n, octets = octets + :n - 1, uid_next = :n + 1"
        " WHERE account_id = :account_id AND id = :id",
        account_id=account.id,
        id=trash,
        n=number,
    )
    await age(database, account, trash, 2)
    await asyncio.gather(*(retention.look() for _ in range(3)))
    await retention.look()
    changes = await store.changes(account.id, trash)
    assert (changes.uids, changes.mailbox.messages, changes.mailbox.unseen, changes.mailbox.octets) == ([], 0, 0, 0)


async def tombstones(database: Database, account: Any) -> list[int]:
    async with database.transaction() as connection:
        rows = await run(connection, "SELECT uid FROM expunged WHERE account_id = :id ORDER BY uid", id=account.id)
        return list(rows.scalars())


async def blocks(database: Database, account: Any) -> list[int]:
    rows = await database.fetch("SELECT modseq FROM changed_block WHERE account_id = :id ORDER BY 1", id=account.id)
    return [row.modseq for row in rows]


async def test_old_tombstones_are_purged_and_old_views_read_anew(
    store: StoreClient, database: Database, account: Any, retention: Retention
) -> None:
    inbox = await fill(store, account, "INBOX", 5)
    start = (await store.changes(account.id, inbox)).mailbox.highest_modseq
    await store.store_flags(account.id, inbox, wire.StoreFlags(uids=[4], operation="add", flags=["$Old"]))
    first = await store.expunge(account.id, inbox, wire.Expunge(uids=[1], force=True))
    for uid in (2, 3):
        await store.expunge(account.id, inbox, wire.Expunge(uids=[uid], force=True))
    # 1: for good since long ago; 2: can still be restored; 3: of yesterday.
    for uid, days, is_released in ((1, 40, True), (2, 40, False), (3, 1, True)):
        await execute(
            database,
            "UPDATE expunged SET expunged_at = now() - make_interval(days => :days),"
            " blob_id = CASE WHEN :released THEN NULL ELSE blob_id END WHERE account_id = :id AND uid = :uid",
            id=account.id,
            uid=uid,
            days=days,
            released=is_released,
        )
    assert await blocks(database, account) == [start + 1]
    await retention.look()
    assert await tombstones(database, account) == [2, 3]
    assert await blocks(database, account) == [], "nobody is told what changed before"
    old = await store.changes(account.id, inbox, start)
    assert (old.is_whole, old.uids, old.expunged) == (True, [4, 5], [])
    recent = await store.changes(account.id, inbox, first.modseq)
    assert (recent.is_whole, recent.uids, recent.expunged) == (False, [], [2, 3])
    await store.store_flags(account.id, inbox, wire.StoreFlags(uids=[5], operation="add", flags=["$New"]))
    assert (await store.changes(account.id, inbox, first.modseq)).uids == [5]


async def test_tombstones_of_mailboxes_that_are_gone_are_purged(
    store: StoreClient, database: Database, account: Any, retention: Retention
) -> None:
    made = await store.create_mailbox(account.id, "gone")
    await store.append(account.id, made.id, wire.AppendHeader(), MESSAGE)
    await store.delete_mailbox(account.id, made.id)
    await retention.look()
    assert await tombstones(database, account) == [1]
    await execute(
        database,
        "UPDATE expunged SET expunged_at = now() - interval '31 days', blob_id = NULL WHERE account_id = :id",
        id=account.id,
    )
    await retention.look()
    assert await tombstones(database, account) == []
