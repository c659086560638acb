"""Restoring what was expunged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from mail_runtime.contracts import store as wire
from mail_runtime.store_client import StoreClient
from store_api.db.engine import Database, run
from store_api.mailboxes.mailboxes import MAX_MAILBOXES

LONG_AGO = "2000-01-01T00:00:00Z"


def message(subject: str) -> bytes:
    return f"From: a@remote.test\r\nSubject: {subject}\r\n\r\nbody\r\n".encode()


async def fill(store: StoreClient, account: Any, mailbox: wire.Mailbox, number: int, *flags: str) -> None:
    for n in range(1, number + 1):
        await store.append(account.id, mailbox.id, wire.AppendHeader(flags=list(flags)), message(f"{n}"))


async def deleted(rest: aiohttp.ClientSession, account: Any) -> list[dict[str, Any]]:
    async with rest.get(f"/v1/accounts/{account.address}/deleted") as response:
        assert response.status == 200, await response.text()
        items: list[dict[str, Any]] = (await response.json())["items"]
        return items


async def undelete(rest: aiohttp.ClientSession, account: Any, expected: int = 200, **wanted: Any) -> Any:
    async with rest.post(f"/v1/accounts/{account.address}/undelete", json=wanted) as response:
        assert response.status == expected, await response.text()
        return (await response.json()).get("items")


async def email_ids(database: Database, account: Any) -> list[UUID]:
    async with database.transaction() as connection:
        rows = await run(
            connection,
            "SELECT email_id FROM message WHERE account_id = :id ORDER BY mailbox_id, uid",
            id=account.id,
        )
        return list(rows.scalars())


async def test_what_was_expunged_comes_back(
    store: StoreClient, rest: aiohttp.ClientSession, database: Database, account: Any
) -> None:
    await fill(store, account, account.inbox, 3, "\\Flagged", "\\Deleted")
    before = await email_ids(database, account)
    old = await store.changes(account.id, account.inbox.id)
    await store.expunge(account.id, account.inbox.id, wire.Expunge(uids=[1, 2]))
    listed = await deleted(rest, account)
    assert [(item["subject"], item["mailbox"], item["sender"]) for item in listed] == [
        ("2", "INBOX", "a@remote.test"),
        ("1", "INBOX", "a@remote.test"),
    ]
    restored = await undelete(rest, account, ids=[listed[1]["id"], str(uuid4())])
    assert restored == [{"id": str(before[0]), "mailbox_id": str(account.inbox.id), "uid": 4}]
    changes = await store.changes(account.id, account.inbox.id)
    assert changes.uids == [3, 4], "uids are never used again"
    assert changes.flags[1] == ["\\Flagged"], "it would be expunged again"
    assert (changes.blob_ids[1], changes.internal_dates[1]) == (old.blob_ids[0], old.internal_dates[0])
    assert (await store.bodies(account.id, [changes.blob_ids[1]])) == [message("1")]
    assert changes.mailbox.messages == 2
    assert changes.mailbox.highest_modseq == changes.modseqs[1]
    assert await email_ids(database, account) == [before[2], before[0]]
    assert [item["subject"] for item in await deleted(rest, account)] == ["2"]
    assert await undelete(rest, account, ids=[listed[1]["id"]]) == [], "once"
    later = await store.changes(account.id, account.inbox.id, old.mailbox.highest_modseq)
    assert later.expunged == [1, 2], "the tombstones stay for views that catch up"


async def test_by_time(store: StoreClient, rest: aiohttp.ClientSession, account: Any) -> None:
    await fill(store, account, account.inbox, 2)
    await store.expunge(account.id, account.inbox.id, wire.Expunge(uids=[1], force=True))
    future = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert await undelete(rest, account, since=future) == []
    assert [item["uid"] for item in await undelete(rest, account, since=LONG_AGO)] == [3]


async def test_a_mailbox_that_is_gone_is_made_again(
    store: StoreClient, rest: aiohttp.ClientSession, account: Any
) -> None:
    made = {name: await store.create_mailbox(account.id, name) for name in ("a/b", "c")}
    for mailbox in made.values():
        await fill(store, account, mailbox, 2)
        await store.delete_mailbox(account.id, mailbox.id)
    found = {m.name: m for m in await store.mailboxes(account.id)}
    await store.delete_mailbox(account.id, found["a"].id)
    other = await store.create_mailbox(account.id, "c")
    assert len(await undelete(rest, account, since=LONG_AGO)) == 4
    found = {m.name: m for m in await store.mailboxes(account.id)}
    assert (found["a"].messages, found["a/b"].messages, found["c"].messages) == (0, 2, 2)
    assert found["c"].id == other.id
    assert found["a/b"].uid_validity > made["a/b"].uid_validity


async def test_without_a_place_for_its_mailbox_it_goes_to_inbox(
    store: StoreClient, rest: aiohttp.ClientSession, database: Database, account: Any
) -> None:
    gone = await store.create_mailbox(account.id, "gone")
    await fill(store, account, gone, 1)
    await store.delete_mailbox(account.id, gone.id)
    async with database.transaction() as connection:
        await run(
            connection,
            "INSERT INTO mailbox (account_id, id, name)"
            " SELECT :account_id, gen_random_uuid(), 'many ' || n FROM generate_series(1, :number) AS n",
            account_id=account.id,
            number=MAX_MAILBOXES - len(account.mailboxes),
        )
    (restored,) = await undelete(rest, account, since=LONG_AGO)
    assert restored["mailbox_id"] == str(account.inbox.id)


async def test_what_was_moved_is_not_deleted(store: StoreClient, rest: aiohttp.ClientSession, account: Any) -> None:
    await fill(store, account, account.inbox, 1)
    trash = account.mailboxes["Trash"].id
    await store.copy(account.id, account.inbox.id, wire.CopyMessages(uids=[1], target_id=trash, move=True))
    assert await deleted(rest, account) == []


async def test_restoring_needs_room(
    store: StoreClient, rest: aiohttp.ClientSession, database: Database, account: Any
) -> None:
    await fill(store, account, account.inbox, 2)
    await store.expunge(account.id, account.inbox.id, wire.Expunge(uids=[1, 2], force=True))
    async with database.transaction() as connection:
        await run(connection, "UPDATE account SET quota_messages = 1 WHERE id = :id", id=account.id)
    await undelete(rest, account, since=LONG_AGO, expected=507)
    assert (await store.changes(account.id, account.inbox.id)).uids == []
    listed = await deleted(rest, account)
    assert len(await undelete(rest, account, ids=[listed[0]["id"]])) == 1
    async with rest.get(f"/v1/accounts/{account.address}/quota") as response:
        quota = await response.json()
    assert quota == {"octets": len(message("1")), "messages": 1, "octets_limit": None, "messages_limit": 1}


async def test_nobody_restores_anothers_mail(
    store: StoreClient, rest: aiohttp.ClientSession, account: Any, other_account: Any
) -> None:
    await fill(store, account, account.inbox, 1)
    await store.expunge(account.id, account.inbox.id, wire.Expunge(force=True, uids=[1]))
    (item,) = await deleted(rest, account)
    assert await deleted(rest, other_account) == []
    assert await undelete(rest, other_account, ids=[item["id"]]) == []
    assert await undelete(rest, other_account, since=LONG_AGO) == []
    assert len(await deleted(rest, account)) == 1


async def test_pages(store: StoreClient, rest: aiohttp.ClientSession, account: Any, other_account: Any) -> None:
    await fill(store, account, account.inbox, 5)
    await store.expunge(account.id, account.inbox.id, wire.Expunge(force=True, uids=[(1, 5)]))
    seen: list[str] = []
    params: dict[str, str] = {"limit": "2"}
    while True:
        async with rest.get(f"/v1/accounts/{account.address}/deleted", params=params) as response:
            page = await response.json()
        seen += [item["subject"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]
    assert seen == ["5", "4", "3", "2", "1"]
    for path in (f"/v1/accounts/{other_account.address}/deleted", f"/v1/accounts/{account.address}/deleted?limit=0"):
        async with rest.get(path, params={"cursor": params["cursor"]}) as response:
            assert response.status in {400, 422}


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"ids": []},
        {"since": "yesterday"},
        {"since": "2020-01-01T00:00:00"},
        {"ids": ["x"]},
        {"all": True},
        {"ids": [str(uuid4())], "since": LONG_AGO},
        {"ids": [str(uuid4())] * 1001},
        {"since": "99999999-01-01T00:00:00Z"},
    ],
)
async def test_what_is_no_wish_is_refused(rest: aiohttp.ClientSession, account: Any, wanted: dict[str, Any]) -> None:
    await undelete(rest, account, expected=422, **wanted)
