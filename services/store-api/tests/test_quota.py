"""Quotas: what is left is what was allowed less what is there, however many ask at once."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import OverQuota
from mail_runtime.store_client import StoreClient
from store_api.db.engine import Database, run
from store_api.db.ids import uuid7
from store_api.mailboxes.quota import Room, Share, lock_room, quota_of

MESSAGE = b"Subject: one\r\n\r\nbody\r\n"


async def set_quota(database: Database, account_id: UUID, octets: int | None, messages: int | None) -> None:
    async with database.transaction() as connection:
        await run(
            connection,
            "UPDATE account SET quota_octets = :octets, quota_messages = :messages WHERE id = :id",
            octets=octets,
            messages=messages,
            id=account_id,
        )


async def own_domain(database: Database, accounts: list[UUID], **quota: int) -> UUID:
    """Move accounts to a domain of this test with that quota."""
    domain_id = uuid7()
    columns = "".join(f", {name}" for name in quota)
    values = "".join(f", :{name}" for name in quota)
    async with database.transaction() as connection:
        await run(
            connection,
            f"INSERT INTO domain (id, name{columns}) VALUES (:id, :name{values})",
            id=domain_id,
            name=f"{uuid4().hex[:12]}.test",
            **quota,
        )
        await run(
            connection,
            "UPDATE account SET domain_id = :domain_id WHERE id = ANY (CAST(:accounts AS uuid[]))",
            domain_id=domain_id,
            accounts=accounts,
        )
    return domain_id


async def room_of(database: Database, *accounts: UUID) -> dict[UUID, Room]:
    async with database.transaction() as connection:
        return await lock_room(connection, accounts)


def test_room_is_taken_from_both_quotas_or_from_none() -> None:
    shared = Share(octets=100, messages=None)
    one, other = Room(Share(octets=80, messages=2), shared), Room(Share(), shared)
    assert (one.octets, one.messages) == (80, 2)
    assert not one.takes(81)
    assert one.takes(60)
    assert (one.octets, one.messages, other.octets, other.messages) == (20, 1, 40, None)
    assert not other.takes(41)
    other.take(30)
    assert one.octets == 10
    with pytest.raises(OverQuota):
        one.take(5, messages=2)
    assert (one.octets, one.messages) == (10, 1), "what doesn't fit takes nothing"
    assert Room(Share(octets=-5, messages=-1)).takes(0, 0), "what is over its quota may still do what needs no room"


async def test_without_a_quota_room_is_unlimited(database: Database, account: Any) -> None:
    room = (await room_of(database, account.id, uuid4()))[account.id]
    assert (room.octets, room.messages) == (None, None)
    assert room.takes(1 << 60)


async def test_what_is_there_counts(database: Database, store: StoreClient, account: Any) -> None:
    await set_quota(database, account.id, 1000, 3)
    for name in ("INBOX", "Sent"):
        await store.append(account.id, account.mailboxes[name].id, wire.AppendHeader(), MESSAGE)
    room = (await room_of(database, account.id))[account.id]
    assert (room.octets, room.messages) == (1000 - 2 * len(MESSAGE), 1)
    quota = await quota_of(database, account.id)
    assert (quota.octets, quota.messages) == (2 * len(MESSAGE), 2)
    assert (quota.octets_limit, quota.messages_limit) == (1000, 3)
    await store.expunge(account.id, account.inbox.id, wire.Expunge(uids=[1], force=True))
    assert (await room_of(database, account.id))[account.id].messages == 2


async def test_an_accounts_quota_goes_before_its_domains_default(
    database: Database, account: Any, other_account: Any
) -> None:
    await own_domain(
        database, [account.id, other_account.id], account_quota_octets=500, account_quota_messages=7, quota_messages=6
    )
    await set_quota(database, other_account.id, 900, None)
    room = await room_of(database, account.id, other_account.id)
    assert (room[account.id].octets, room[account.id].messages) == (500, 6)
    assert (room[other_account.id].octets, room[other_account.id].messages) == (900, 6)
    room[account.id].take(1, messages=6)
    assert not room[other_account.id].takes(1), "the domain's room is shared"


async def test_a_domains_quota_counts_all_its_accounts(
    database: Database, store: StoreClient, account: Any, other_account: Any
) -> None:
    await own_domain(database, [account.id, other_account.id], quota_octets=1000)
    await store.append(account.id, account.inbox.id, wire.AppendHeader(), MESSAGE)
    assert (await room_of(database, other_account.id))[other_account.id].octets == 1000 - len(MESSAGE)


async def test_who_asks_second_sees_what_the_first_took(database: Database, account: Any, other_account: Any) -> None:
    """Two accounts of one domain at the same time: the second waits, and has only what is left."""
    await own_domain(database, [account.id, other_account.id], quota_messages=10)

    async def asked() -> int | None:
        return (await room_of(database, other_account.id))[other_account.id].messages

    async with database.transaction() as connection:
        assert (await lock_room(connection, [account.id]))[account.id].messages == 10
        second = asyncio.create_task(asked())
        while not await _somebody_waits(database):
            await asyncio.sleep(0)
        await run(
            connection,
            "UPDATE mailbox SET messages = 4 WHERE account_id = :account_id AND name = 'INBOX'",
            account_id=account.id,
        )
    assert await second == 6


async def _somebody_waits(database: Database) -> bool:
    async with database.transaction() as connection:
        waiting = await run(
            connection,
            "SELECT 1 FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND query LIKE '%SELECT id FROM domain%' LIMIT 1",
        )
        return waiting.scalar() is not None


async def test_however_many_come_at_once_a_quota_holds(database: Database, store: StoreClient, account: Any) -> None:
    """Appends and copies together: what fits is stored, the rest is told so, and nothing is counted twice."""
    await store.append(account.id, account.inbox.id, wire.AppendHeader(), MESSAGE)
    await set_quota(database, account.id, None, 6)
    archive = account.mailboxes["Archive"].id
    copy = wire.CopyMessages(uids=[1], target_id=archive)
    ended = await asyncio.gather(
        *(store.append(account.id, account.inbox.id, wire.AppendHeader(), MESSAGE) for _ in range(6)),
        *(store.copy(account.id, account.inbox.id, copy) for _ in range(6)),
        return_exceptions=True,
    )
    assert sum(isinstance(each, OverQuota) for each in ended) == 7
    assert sum(not isinstance(each, BaseException) for each in ended) == 5
    quota = await quota_of(database, account.id)
    assert (quota.messages, quota.octets) == (6, 6 * len(MESSAGE))
    stored = [await store.changes(account.id, mailbox_id) for mailbox_id in (account.inbox.id, archive)]
    assert sum(len(changes.uids) for changes in stored) == 6
