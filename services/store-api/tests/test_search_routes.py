"""Searching from outside: what is delivered gets indexed, and people find it ranked, page by page."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import NotFound, Refused
from mail_runtime.contracts.store import search
from mail_runtime.store_client import StoreClient
from mail_testkit.clients import TIMEOUT_S
from store_api.db.engine import Database, run
from store_api.search.query import parse_query
from store_api.search.snippets import snippet


async def append(store: StoreClient, account: Any, *messages: str, mailbox: str = "INBOX") -> None:
    for message in messages:
        octets = message.replace("\n", "\r\n").encode()
        await store.append(account.id, account.mailboxes[mailbox].id, wire.AppendHeader(), octets)


async def indexed(database: Database, account: Any, number: int) -> None:
    """Return once so many messages are indexed."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            async with database.transaction() as connection:
                rows = await run(connection, "SELECT count(*) FROM message_field WHERE account_id = :id", id=account.id)
                if rows.scalar_one() == number:
                    return
            await asyncio.sleep(0.05)


async def get(rest: aiohttp.ClientSession, account: Any, **parameters: Any) -> Any:
    async with rest.get(f"/v1/accounts/{account.address}/search", params=parameters) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def test_what_is_delivered_is_indexed(store: StoreClient, account: Any, database: Database) -> None:
    sent = wire.Transmission(id=uuid4(), reverse_path="a@remote.test", recipients=[account.address])
    await store.accept(sent, b"Subject: Gr\xc3\xbc\xc3\x9fe\r\n\r\nindexed soon\r\n")
    wanted = search.Search(key=search.InText("EXED SO", header_too=False))
    before = await store.search(account.id, account.inbox.id, wanted)
    await indexed(database, account, 1)
    after = await store.search(account.id, account.inbox.id, wanted)
    assert search.unpack_numbers(before.uids) == search.unpack_numbers(after.uids) == [1]
    assert after.modseq > 0


async def test_header_fields_are_those_of_own_messages(store: StoreClient, account: Any, database: Database) -> None:
    await append(store, account, "Subject: Gr=\nFrom: Ada <ada@x.test>\nDate: 1 Feb 1994 23:00 -0800\n\nx", "\nbare")
    await indexed(database, account, 2)
    async with database.transaction() as connection:
        rows = await run(connection, "SELECT blob_id FROM message WHERE account_id = :id ORDER BY uid", id=account.id)
        first, second = rows.scalars()
    found = await store.header_fields(account.id, [second, first, uuid4()])
    assert sorted(found, key=lambda one: one.subject or "") == [
        search.HeaderFields(blob_id=second),
        search.HeaderFields(blob_id=first, subject="gr=", from_="ada <ada@x.test>", sent_day=date(1994, 2, 1)),
    ]
    assert await store.header_fields(uuid4(), [first, second]) == []
    with pytest.raises(Refused):
        await store.header_fields(account.id, [first] * 10_001)


async def test_what_no_event_told_of_is_found_by_the_walk(
    store: StoreClient, account: Any, database: Database, postroom: Any
) -> None:
    await append(store, account, "Subject: one\n\nfirst", "Subject: two\n\nsecond")
    await indexed(database, account, 2)
    async with database.transaction() as connection:
        await run(connection, "DELETE FROM message_text WHERE account_id = :id", id=account.id)
    with postroom.stopped("store-api"):
        pass
    await indexed(database, account, 2)


async def test_the_best_comes_first(store: StoreClient, rest: aiohttp.ClientSession, account: Any) -> None:
    await append(
        store,
        account,
        "Subject: nothing\nFrom: x@y.test\n\nhere is the budget of the year",
        "Subject: Budget\nFrom: x@y.test\n\nno more",
        "Subject: lunch\nFrom: Budget Office <b@y.test>\n\nlet's eat",
        "Subject: other\n\nunrelated",
    )
    found = await get(rest, account, q="budget")
    assert [item["subject"] for item in found["items"]] == ["Budget", "lunch", "nothing"]
    assert [item["score"] for item in found["items"]] == [8, 4, 1]
    assert found["total"] == 3
    last = found["items"][2]
    assert [last["snippet"][start:end] for start, end in last["matches"]] == ["budget"]
    assert found["items"][0]["snippet"] == found["items"][0]["preview"]


async def test_pages_give_everything_once(store: StoreClient, rest: aiohttp.ClientSession, account: Any) -> None:
    await append(store, account, *(f"Subject: {'word' if n % 3 else 'x'} {n}\n\nword\n" for n in range(9)))
    seen: list[str] = []
    cursor = None
    while True:
        page = await get(rest, account, q="word", limit=2, **({"cursor": cursor} if cursor else {}))
        seen += [item["subject"] for item in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert seen == [f"word {n}" for n in (8, 7, 5, 4, 2, 1)] + [f"x {n}" for n in (6, 3, 0)]


async def test_filters(store: StoreClient, rest: aiohttp.ClientSession, account: Any) -> None:
    await append(store, account, "Subject: a word\nFrom: ada@x.test\n\none")
    await append(store, account, "Subject: b word\nTo: bob@x.test\n\none two", mailbox="Archive")
    archive = str(account.mailboxes["Archive"].id)
    for parameters, subjects in [
        ({"q": "word"}, {"a word", "b word"}),
        ({"q": "word", "mailbox_id": archive}, {"b word"}),
        ({"q": "from:ADA"}, {"a word"}),
        ({"q": "to:bob word"}, {"b word"}),
        ({"q": "-two"}, {"a word"}),
        ({"q": '"one two"'}, {"b word"}),
        ({"q": '"two one"'}, set()),
        ({"q": "word", "seen": "true"}, set()),
        ({"q": "word", "seen": "false", "flagged": "false"}, {"a word", "b word"}),
        ({"q": "word", "since": "2100-01-01T00:00:00Z"}, set()),
        ({"q": "word", "before": "2100-01-01T00:00:00Z"}, {"a word", "b word"}),
    ]:
        found = await get(rest, account, **parameters)
        assert {item["subject"] for item in found["items"]} == subjects, parameters


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({}, 422),
        ({"q": ""}, 422),
        ({"q": "  "}, 422),
        ({"q": "x" * 1_001}, 422),
        ({"q": "a " * 21}, 422),
        ({"q": "a", "limit": "101"}, 422),
        ({"q": "a", "cursor": "AAAA"}, 400),
        ({"q": "a", "nonsense": "1"}, 422),
        ({"q": "a", "mailbox_id": str(uuid4())}, 404),
    ],
)
async def test_bad_input(rest: aiohttp.ClientSession, account: Any, parameters: dict[str, str], status: int) -> None:
    async with rest.get(f"/v1/accounts/{account.address}/search", params=parameters) as response:
        assert response.status == status, await response.text()
        assert response.content_type == "application/problem+json"


async def test_a_cursor_of_another_search_is_refused(
    store: StoreClient, rest: aiohttp.ClientSession, account: Any, other_account: Any
) -> None:
    await append(store, account, "Subject: one\n\nword", "Subject: two\n\nword")
    cursor = (await get(rest, account, q="word", limit=1))["next_cursor"]
    for address, q in ((other_account.address, "word"), (account.address, "wor")):
        parameters = {"q": q, "cursor": cursor}
        async with rest.get(f"/v1/accounts/{address}/search", params=parameters) as response:
            assert response.status == 400


async def test_two_tenants(
    store: StoreClient, rest: aiohttp.ClientSession, account: Any, other_account: Any, database: Database
) -> None:
    await append(store, account, "Subject: mine\n\nconfidential")
    await append(store, other_account, "Subject: yours\n\nconfidential")
    for _ in range(2):
        assert [item["subject"] for item in (await get(rest, account, q="confidential"))["items"]] == ["mine"]
        await indexed(database, account, 1)
        await indexed(database, other_account, 1)
    wanted = search.Search(key=search.Everything())
    with pytest.raises(NotFound):
        await store.search(account.id, other_account.inbox.id, wanted)


async def test_bad_programs(store: StoreClient, account: Any) -> None:
    key: search.SearchKey = search.Everything()
    for _ in range(60):
        key = search.Not(key)
    with pytest.raises(Refused):
        await store.search(account.id, account.inbox.id, search.Search(key=key))
    with pytest.raises(NotFound):
        await store.search(account.id, UUID(int=1), search.Search(key=search.Everything()))
    whole = search.Search(key=search.Uids([(1, 4_294_967_295)]))
    assert (await store.search(account.id, account.inbox.id, whole)).uids == b""


def test_queries() -> None:
    query = parse_query('Foo  "bar  baz" -from:"x y" subject:q')
    assert query.terms == ("foo", "bar  baz", "q")
    assert query.key == search.AllOf(
        [
            search.InText("Foo", True),
            search.InText("bar  baz", True),
            search.Not(search.InHeader("from", "x y")),
            search.InHeader("subject", "q"),
        ]
    )
    assert parse_query("http://x").key == search.AllOf([search.InText("http://x", True)])
    with pytest.raises(Refused):
        parse_query('""')


def test_snippets() -> None:
    found = snippet("Über  die\r\nStraße nach Köln und weiter", ["strasse", "ko\u0308ln"])
    assert found is not None
    assert [found.text[start:end] for start, end in found.matches] == ["Straße", "Köln"]
    long = snippet("x " * 5_000 + "needle" + " y" * 5_000, ["needle"])
    assert long is not None
    assert len(long.text) == 200
    assert [long.text[start:end] for start, end in long.matches] == ["needle"]
