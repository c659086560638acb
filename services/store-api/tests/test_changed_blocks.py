"""What changed since a modseq, found by blocks of uids: the same as by looking at all messages."""

from __future__ import annotations

import random
from typing import Any

from mail_runtime.contracts import store as wire
from mail_runtime.contracts.store.uids import joined
from mail_runtime.store_client import StoreClient
from store_api.db.engine import Database
from store_api.mailboxes.changes import BLOCK_BITS

from .conftest import MESSAGE

BLOCK = 1 << BLOCK_BITS
STEPS = 60


async def append(store: StoreClient, account: Any, number: int) -> None:
    await store.append_all(account.id, account.inbox.id, [wire.AppendHeader()] * number, [MESSAGE] * number)


async def changed_by_all(store: StoreClient, account: Any, since: int) -> tuple[list[int], list[int]]:
    whole = await store.changes(account.id, account.inbox.id)
    kept = [(uid, modseq) for uid, modseq in zip(whole.uids, whole.modseqs, strict=True) if modseq > since]
    return [uid for uid, _ in kept], [modseq for _, modseq in kept]


async def test_any_history_is_told_from_any_modseq(store: StoreClient, account: Any) -> None:
    inbox, archive = account.inbox.id, account.mailboxes["Archive"].id
    choose = random.Random(1)
    gone: dict[int, int] = {}
    await append(store, account, 2 * BLOCK + 50)
    for _ in range(STEPS):
        whole = await store.changes(account.id, inbox)
        first = choose.choice([*whole.uids, BLOCK - 1, BLOCK, 2 * BLOCK])
        uids = [(first, first + choose.choice([0, 0, 1, 5, BLOCK]))]
        match choose.choice(["flags", "flags", "flags", "append", "copy", "expunge", "move"]):
            case "flags":
                operation: Any = choose.choice(["add", "remove", "replace"])
                change = wire.StoreFlags(uids=uids, operation=operation, flags=[choose.choice("abc")])
                await store.store_flags(account.id, inbox, change)
            case "append":
                await append(store, account, choose.choice([1, 3]))
            case "copy":
                await store.copy(account.id, inbox, wire.CopyMessages(uids=[first], target_id=inbox))
            case "move":
                wanted = wire.CopyMessages(uids=[first], target_id=choose.choice([inbox, archive]), move=True)
                moved = await store.copy(account.id, inbox, wanted)
                gone |= dict.fromkeys(moved.source_uids, moved.modseq)
            case "expunge":
                expunged = await store.expunge(account.id, inbox, wire.Expunge(uids=[(first, first + 3)], force=True))
                gone |= dict.fromkeys(expunged.uids, expunged.modseq)
    highest = (await store.changes(account.id, inbox)).mailbox.highest_modseq
    for since in range(1, highest + 1):
        found = await store.changes(account.id, inbox, since)
        assert (found.uids, found.modseqs) == await changed_by_all(store, account, since)
        removed = [uid for uid, modseq in gone.items() if modseq > since]
        assert joined(found.expunged) == (joined(removed) if removed else [])


async def test_a_change_of_a_flag_leaves_the_indexes_alone(database: Database) -> None:
    """It is to be a HOT update: no index may have a column that a change of flags writes."""
    rows = await database.fetch(
        "SELECT CAST(i.indexrelid AS regclass) AS name FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid"
        " AND a.attnum = ANY (i.indkey) WHERE i.indrelid = CAST('message' AS regclass)"
        " AND a.attname IN ('flags', 'modseq')"
    )
    assert rows == []


async def test_blocks_go_with_their_mailbox(store: StoreClient, account: Any, database: Database) -> None:
    made = await store.create_mailbox(account.id, "new")
    await store.append(account.id, made.id, wire.AppendHeader(), MESSAGE)
    await store.store_flags(account.id, made.id, wire.StoreFlags(uids=[1], operation="add", flags=["$x"]))
    sql = "SELECT block FROM changed_block WHERE mailbox_id = :id"
    assert len(await database.fetch(sql, id=made.id)) == 1
    await store.delete_mailbox(account.id, made.id)
    assert await database.fetch(sql, id=made.id) == []
