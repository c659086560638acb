"""Mailboxes as columns: the same as their rows, for new frontends and for those of the release before."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import aiohttp
import msgspec
import pytest

from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import NotFound
from mail_runtime.contracts.store.columns import Table, changes_of, objects_of
from mail_runtime.store_client import StoreClient
from mail_testkit.running import RunningPostroom
from store_api.db.engine import Database, run

MESSAGE = b"Subject: one\r\n\r\nbody\r\n"
FLAGS = ([], ["\\Seen"], ["\\Seen", "$Work"], [], ["\\Seen"])
# Before the epoch, and past the 32 bits of 2038.
DATES = (-86_400, 0, 1, 1_700_000_000, 5_000_000_000)


async def fill(store: StoreClient, database: Database, account: Any) -> list[Any]:
    """Five messages with odd dates and ids of large and small values; their rows."""
    for flags in FLAGS:
        await store.append(account.id, account.inbox.id, wire.AppendHeader(flags=flags), MESSAGE)
    async with database.transaction() as connection:
        for uid, date in enumerate(DATES, 1):
            await run(
                connection,
                "UPDATE message SET internal_date = :date, saved_date = :uid,"
                " email_id = CASE WHEN uid = 1 THEN 'ffffffff-ffff-ffff-ffff-ffffffffffff' ELSE email_id END,"
                " thread_id = CASE WHEN uid = 2 THEN NULL ELSE email_id END WHERE account_id = :id AND uid = :uid",
                id=account.id,
                uid=uid,
                date=date,
            )
        rows = await run(connection, "SELECT * FROM message WHERE account_id = :id ORDER BY uid", id=account.id)
        return list(rows)


async def test_columns_say_what_the_rows_say(store: StoreClient, database: Database, account: Any) -> None:
    rows = await fill(store, database, account)
    columns = await store.columns(account.id, account.inbox.id, with_objects=True)
    table = Table.of(columns)
    assert (len(columns), len(table), columns.is_whole) == (5, 5, True)
    assert list(table.uids) == [1, 2, 3, 4, 5]
    assert list(table.internal_dates) == list(DATES)
    assert [table.blob_id(place) for place in range(5)] == [row.blob_id for row in rows] == list(table.blob_ids())
    assert [table.flag_sets[number] for number in table.flags] == list(FLAGS)
    assert len(columns.flag_sets) == 3
    objects = objects_of(columns)
    assert [(each.saved_date, each.email_id, each.thread_id) for each in objects] == [
        (row.saved_date, row.email_id, row.thread_id) for row in rows
    ]
    changes = changes_of(columns)
    assert changes.modseqs == [row.modseq for row in rows]
    assert changes.octets == [len(MESSAGE)] * 5


async def test_an_empty_mailbox_has_empty_columns(store: StoreClient, account: Any) -> None:
    columns = await store.columns(account.id, account.inbox.id, with_objects=True)
    assert (len(columns), columns.words, columns.flags, columns.flag_sets, columns.expunged) == (0, b"", b"", [], [])
    assert len(Table.of(columns)) == 0
    assert objects_of(columns) == []
    later = await store.columns(account.id, account.inbox.id, columns.mailbox.highest_modseq)
    assert (len(later), later.is_whole) == (0, False)


async def test_what_was_removed_comes_as_ranges(store: StoreClient, database: Database, account: Any) -> None:
    await fill(store, database, account)
    since = (await store.columns(account.id, account.inbox.id)).mailbox.highest_modseq
    for uids in ([3], [2], [5]):
        await store.expunge(account.id, account.inbox.id, wire.Expunge(uids=uids, force=True))
    add = wire.StoreFlags(uids=[4], operation="add", flags=["\\Flagged"])
    await store.store_flags(account.id, account.inbox.id, add)
    columns = await store.columns(account.id, account.inbox.id, since)
    assert (columns.expunged, list(Table.of(columns).uids)) == ([(2, 3), 5], [4])
    assert changes_of(columns).expunged == [2, 3, 5]


async def test_whoever_changes_flags_is_told_what_others_have_changed(
    store: StoreClient, database: Database, account: Any
) -> None:
    await fill(store, database, account)
    seen = (await store.columns(account.id, account.inbox.id)).mailbox.highest_modseq
    await store.expunge(account.id, account.inbox.id, wire.Expunge(uids=[3], force=True))
    add = wire.StoreFlags(uids=[4], operation="add", flags=["\\Flagged"], seen=seen)
    stored = await store.store_flags(account.id, account.inbox.id, add)
    assert stored.changes == await store.columns(account.id, account.inbox.id, seen)
    assert stored.changes is not None
    assert stored.changes.mailbox.highest_modseq == stored.modseq
    again = msgspec.structs.replace(add, seen=stored.modseq)
    stored = await store.store_flags(account.id, account.inbox.id, again)
    assert stored.changes is not None
    assert (len(stored.changes), stored.changes.expunged) == (0, [])
    await store.store_flags(account.id, account.inbox.id, msgspec.structs.replace(add, uids=[5], flags=["$Other"]))
    expunged = await store.expunge(account.id, account.inbox.id, wire.Expunge(uids=[2], force=True, seen=stored.modseq))
    assert expunged.changes == await store.columns(account.id, account.inbox.id, stored.modseq)
    assert expunged.changes is not None
    assert (list(Table.of(expunged.changes).uids), expunged.changes.expunged) == ([5], [2])
    assert (await store.expunge(account.id, account.inbox.id, wire.Expunge())).changes is None
    asks_nothing = msgspec.structs.replace(add, seen=None)
    assert (await store.store_flags(account.id, account.inbox.id, asks_nothing)).changes is None


async def test_frontends_of_the_release_before_get_lists(
    postroom: RunningPostroom, store: StoreClient, database: Database, account: Any
) -> None:
    await fill(store, database, account)
    headers = {"Authorization": f"Bearer {postroom.service_token}"}
    async with aiohttp.ClientSession(postroom.api_url, headers=headers) as http:
        path = f"/internal/accounts/{account.id}/mailboxes/{account.inbox.id}/changes?since=0"
        async with http.get(path) as response:
            old = msgspec.msgpack.decode(await response.read(), type=wire.Changes)
    assert old == await store.changes(account.id, account.inbox.id)


async def test_of_what_is_not_there(store: StoreClient, account: Any, other_account: Any) -> None:
    for since in (0, 5):
        for account_id, mailbox_id in ((account.id, uuid4()), (other_account.id, account.inbox.id)):
            with pytest.raises(NotFound):
                await store.columns(account_id, mailbox_id, since)
