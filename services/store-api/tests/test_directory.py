"""Domains, accounts and aliases over REST."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import AuthenticationFailed
from mail_runtime.store_client import StoreClient
from mail_testkit.running import RunningPostroom
from store_api.db.engine import Database, run

MESSAGE = b"Subject: one\r\n\r\nbody\r\n"


async def call(
    rest: aiohttp.ClientSession, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, Any, str]:
    """(status, JSON, ETag)."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with rest.request(method, path, json=body, headers=named) as response:
        shown = await response.json() if response.status != 204 else None
        return response.status, shown, response.headers.get("ETag", "")


@pytest.fixture
async def domain(rest: aiohttp.ClientSession) -> str:
    name = f"d{uuid4().hex[:12]}.test"
    assert (await call(rest, "POST", "/v1/domains", {"name": name}))[0] == 201
    return name


async def new_account(rest: aiohttp.ClientSession, domain: str, **more: Any) -> str:
    address = f"a{uuid4().hex[:8]}@{domain}"
    status, shown, _ = await call(rest, "POST", "/v1/accounts", {"address": address, "password": "long enough", **more})
    assert status == 201, shown
    return address


async def test_a_domain_is_changed_and_removed(rest: aiohttp.ClientSession, domain: str) -> None:
    path = f"/v1/domains/{domain.upper()}"
    _, first, etag = await call(rest, "GET", path)
    assert (first["name"], first["trash_days"], first["quota_octets"]) == (domain, None, None)
    status, changed, new_etag = await call(rest, "PATCH", path, {"trash_days": 30, "quota_octets": 5}, If_Match=etag)
    assert (status, changed["trash_days"], changed["quota_octets"]) == (200, 30, 5)
    assert new_etag != etag
    status, problem, _ = await call(rest, "PATCH", path, {"trash_days": 1}, If_Match=etag)
    assert (status, problem["type"]) == (412, "/problems/precondition-failed")
    _, changed, _ = await call(rest, "PATCH", path, {"trash_days": None})
    assert (changed["trash_days"], changed["quota_octets"]) == (None, 5)
    for body in (
        {"trash_days": 0},
        {"quota_octets": -1},
        {"quota_octets": 2**63},
        {"nme": 1},
        {"suppress_bounced": None},
    ):
        assert (await call(rest, "PATCH", path, body))[0] == 422
    assert (await call(rest, "DELETE", path))[0] == 204
    assert (await call(rest, "GET", path))[0] == 404


async def test_a_domain_in_use_stays(rest: aiohttp.ClientSession, domain: str) -> None:
    await new_account(rest, domain)
    status, problem, _ = await call(rest, "DELETE", f"/v1/domains/{domain}")
    assert (status, "accounts" in problem["detail"]) == (409, True)


async def test_another_name_of_a_domain(rest: aiohttp.ClientSession, domain: str) -> None:
    other = f"other-{domain}"
    status, shown, _ = await call(rest, "POST", "/v1/domains", {"name": other, "alias_of": domain})
    assert (status, shown["alias_of"]) == (201, domain)
    for name, of in [(f"x-{domain}", other), (f"y-{domain}", "nowhere.test"), (domain, domain)]:
        assert (await call(rest, "POST", "/v1/domains", {"name": name, "alias_of": of}))[0] in {422, 409}
    assert (await call(rest, "GET", f"/v1/domains/x-{domain}"))[0] == 404, "nothing is half made"
    status, problem, _ = await call(rest, "POST", "/v1/accounts", {"address": f"a@{other}", "password": "long enough"})
    assert (status, "another name" in problem["detail"]) == (422, True)
    assert (await call(rest, "DELETE", f"/v1/domains/{domain}"))[0] == 409


async def test_an_account_is_changed(rest: aiohttp.ClientSession, domain: str) -> None:
    address = await new_account(rest, domain, display_name="Ä", forward_to=["X@Elsewhere.TEST"])
    path = f"/v1/accounts/{address}"
    _, shown, etag = await call(rest, "GET", path)
    assert (shown["display_name"], shown["forward_to"], shown["state"]) == ("Ä", ["X@elsewhere.test"], "active")
    assert shown["used"] == {"messages": 0, "octets": 0}
    _, changed, _ = await call(rest, "PATCH", path, {"state": "disabled", "quota_messages": 7}, If_Match=etag)
    assert (changed["state"], changed["quota_messages"], changed["display_name"]) == ("disabled", 7, "Ä")
    assert (await call(rest, "PATCH", path, {"display_name": "x"}, If_Match=etag))[0] == 412
    for body in (
        {"forward_to": [address]},
        {"forward_to": ["no address"]},
        {"state": "deleted"},
        {"display_name": "\0"},
    ):
        assert (await call(rest, "PATCH", path, body))[0] == 422, body
    _, listed, _ = await call(rest, "GET", f"/v1/accounts?domain={domain}&state=disabled")
    assert [item["address"] for item in listed["items"]] == [address]
    assert (await call(rest, "GET", f"/v1/accounts?domain={domain}&state=active"))[1]["items"] == []


async def test_a_disabled_account_cannot_log_in(store: StoreClient, rest: aiohttp.ClientSession, account: Any) -> None:
    await call(rest, "PATCH", f"/v1/accounts/{account.address}", {"state": "disabled"})
    assert [r.status for r in await store.resolve([account.address])] != ["local"]


async def test_a_deleted_account_leaves_nothing(
    store: StoreClient, rest: aiohttp.ClientSession, domain: str, database: Database
) -> None:
    address = await new_account(rest, domain)
    account_id = (await call(rest, "GET", f"/v1/accounts/{address}"))[1]["id"]
    for mailbox in await store.mailboxes(account_id):
        await store.append(account_id, mailbox.id, wire.AppendHeader(), MESSAGE)
    alias = {"address": f"sales@{domain}", "members": [address, "x@elsewhere.test"]}
    assert (await call(rest, "POST", "/v1/aliases", alias))[0] == 201
    assert (await call(rest, "DELETE", f"/v1/accounts/{address}"))[0] == 204
    assert (await call(rest, "GET", f"/v1/accounts/{address}"))[0] == 404
    assert (await call(rest, "DELETE", f"/v1/accounts/{address}"))[0] == 404
    _, listed, _ = await call(rest, "GET", f"/v1/accounts?domain={domain}")
    assert listed["items"] == []
    _, members, _ = await call(rest, "GET", f"/v1/aliases/sales@{domain}/members")
    assert members["items"] == ["x@elsewhere.test"]
    async with database.transaction() as connection:
        tables = (
            (
                await run(
                    connection,
                    "SELECT table_name FROM information_schema.columns WHERE column_name = 'account_id'"
                    " AND table_schema = 'public' AND table_name NOT IN ('transmission', 'delivery', 'event')",
                )
            )
            .scalars()
            .all()
        )
    assert {"message", "mailbox", "expunged", "api_token"} <= set(tables)
    left = True
    while left:
        async with database.transaction() as connection:
            left = bool((await run(connection, "SELECT 1 FROM account WHERE id = :id", id=account_id)).scalar())
        await asyncio.sleep(0.05)
    async with database.transaction() as connection:
        for table in tables:
            rows = await run(connection, f"SELECT count(*) FROM {table} WHERE account_id = :id", id=account_id)
            assert rows.scalar() == 0, table
    assert (await call(rest, "POST", "/v1/accounts", {"address": address, "password": "long enough"}))[0] == 201


async def test_an_account_that_goes_while_it_is_indexed_stops_nothing(
    store: StoreClient, rest: aiohttp.ClientSession, domain: str, database: Database, postroom: RunningPostroom
) -> None:
    address = await new_account(rest, domain)
    account_id = (await call(rest, "GET", f"/v1/accounts/{address}"))[1]["id"]
    process, failed = postroom.process_id("store-api"), postroom.log("store-api").count("background_failed")
    async with database.transaction() as connection:
        await run(connection, "LOCK TABLE search_word IN SHARE MODE")
        inbox = (await store.mailboxes(account_id))[0]
        await store.append(account_id, inbox.id, wire.AppendHeader(), MESSAGE)
        await until_indexer_waits(database)
        for table in ("message", "thread_reference", "mailbox"):
            await run(connection, f"DELETE FROM {table} WHERE account_id = :id", id=account_id)
        await run(connection, "DELETE FROM account WHERE id = :id", id=account_id)
    other = await new_account(rest, domain)
    other_id = (await call(rest, "GET", f"/v1/accounts/{other}"))[1]["id"]
    inbox = (await store.mailboxes(other_id))[0]
    await store.append(other_id, inbox.id, wire.AppendHeader(), MESSAGE)
    indexed = False
    while not indexed:
        async with database.transaction() as connection:
            rows = await run(connection, "SELECT 1 FROM message_text WHERE account_id = :id", id=other_id)
            indexed = bool(rows.scalar())
    assert postroom.process_id("store-api") == process
    assert postroom.log("store-api").count("background_failed") == failed


async def until_indexer_waits(database: Database) -> None:
    """For the lock of the table that it writes."""
    waits = False
    while not waits:
        async with database.transaction() as connection:
            rows = await run(
                connection,
                "SELECT 1 FROM pg_locks WHERE relation = CAST('search_word' AS regclass) AND NOT granted",
            )
            waits = bool(rows.scalar())


async def test_aliases_and_their_members(rest: aiohttp.ClientSession, domain: str) -> None:
    address = await new_account(rest, domain)
    path = f"/v1/aliases/team@{domain}"
    new = {"address": f"Team@{domain}", "kind": "list", "who_may_post": "members", "members": [address, address]}
    status, shown, _ = await call(rest, "POST", "/v1/aliases", new)
    assert (status, shown["address"], shown["members"], shown["who_may_post"]) == (201, f"team@{domain}", 1, "members")
    assert (await call(rest, "POST", "/v1/aliases", new))[0] == 409
    assert (await call(rest, "POST", "/v1/aliases", {"address": address, "members": ["x@y.test"]}))[0] == 409
    status, _, _ = await call(rest, "POST", "/v1/accounts", {"address": f"team@{domain}", "password": "long enough"})
    assert status == 409, "an address is an alias or an account"
    _, shown, _ = await call(rest, "POST", f"{path}/members", {"members": ["b@x.test", "c@x.test", address]})
    assert shown["members"] == 3
    assert (await call(rest, "POST", f"{path}/members", {"members": [f"team@{domain}"]}))[0] == 422
    _, page, etag = await call(rest, "GET", f"{path}/members?limit=2")
    _, rest_of_it, _ = await call(rest, "GET", f"{path}/members?limit=2&cursor={page['next_cursor']}")
    assert page["items"] + rest_of_it["items"] == sorted([address, "b@x.test", "c@x.test"])
    assert (await call(rest, "PUT", f"{path}/members", {"members": ["d@x.test"]}))[0] == 428
    assert (await call(rest, "PUT", f"{path}/members", {"members": ["d@x.test"]}, If_Match='"old"'))[0] == 412
    _, shown, _ = await call(rest, "PUT", f"{path}/members", {"members": ["d@x.test"]}, If_Match=etag)
    assert shown["members"] == 1
    assert (await call(rest, "DELETE", f"{path}/members/d@x.test"))[0] == 204
    assert (await call(rest, "DELETE", f"{path}/members/d@x.test"))[0] == 404
    _, changed, _ = await call(rest, "PATCH", path, {"who_may_post": "domain", "name": "The team"})
    assert (changed["who_may_post"], changed["name"]) == ("domain", "The team")
    assert (await call(rest, "DELETE", path))[0] == 204
    assert (await call(rest, "GET", path))[0] == 404


async def test_a_catch_all(rest: aiohttp.ClientSession, domain: str) -> None:
    new = {"address": f"@{domain}", "kind": "catch_all", "members": ["all@x.test"]}
    assert (await call(rest, "POST", "/v1/aliases", new | {"address": f"x@{domain}"}))[0] == 422
    assert (await call(rest, "POST", "/v1/aliases", new | {"kind": "alias"}))[0] == 422
    assert (await call(rest, "POST", "/v1/aliases", new | {"address": "@nowhere.test"}))[0] == 422
    assert (await call(rest, "POST", "/v1/aliases", new))[0] == 201
    _, listed, _ = await call(rest, "GET", f"/v1/aliases?domain={domain}&kind=catch_all&member=all@x.test")
    assert [item["address"] for item in listed["items"]] == [f"@{domain}"]


async def test_two_who_make_one_address_at_once(rest: aiohttp.ClientSession, domain: str) -> None:
    address = f"same@{domain}"
    results = await asyncio.gather(
        call(rest, "POST", "/v1/accounts", {"address": address, "password": "long enough"}),
        call(rest, "POST", "/v1/aliases", {"address": address, "members": ["x@y.test"]}),
    )
    assert sorted(status for status, _, _ in results) == [201, 409]


async def test_changes_are_in_the_audit_log(rest: aiohttp.ClientSession, domain: str, database: Database) -> None:
    await call(rest, "PATCH", f"/v1/domains/{domain}", {"junk_days": 3})
    async with database.transaction() as connection:
        rows = (
            await run(
                connection, "SELECT actor, action, detail FROM audit WHERE object = :name ORDER BY id", name=domain
            )
        ).all()
    assert [row.action for row in rows] == ["domain.create", "domain.change"]
    assert "junk_days" in str(rows[1].detail)


async def test_the_admin_of_a_domain_sees_and_changes_its_own(rest: aiohttp.ClientSession, domain: str) -> None:
    address, foreign = await new_account(rest, domain), await new_account(rest, "example.test")
    status, token, _ = await call(rest, "POST", "/v1/tokens", {"name": "t", "scope": "domain", "domain": domain})
    assert status == 201
    bearer = {"Authorization": f"Bearer {token['secret']}"}
    _, listed, _ = await call(rest, "GET", "/v1/domains", **bearer)
    assert [item["name"] for item in listed["items"]] == [domain]
    _, listed, _ = await call(rest, "GET", "/v1/accounts", **bearer)
    assert [item["address"] for item in listed["items"]] == [address]
    new = {"address": f"second@{domain}", "password": "long enough"}
    for method, path, body, expected in [
        ("GET", "/v1/domains/example.test", None, 404),
        ("PATCH", f"/v1/domains/{domain}", {"junk_days": 5}, 200),
        ("PATCH", f"/v1/domains/{domain}", {"quota_octets": 5}, 403),
        ("POST", "/v1/domains", {"name": "new.test"}, 403),
        ("DELETE", f"/v1/domains/{domain}", None, 403),
        ("POST", "/v1/accounts", new, 201),
        ("POST", "/v1/accounts", new | {"address": "x@example.test"}, 422),
        ("PATCH", f"/v1/accounts/{foreign}", {"state": "disabled"}, 404),
        ("DELETE", f"/v1/accounts/{foreign}", None, 404),
        ("POST", "/v1/aliases", {"address": "x@example.test", "members": ["a@b.test"]}, 422),
    ]:
        status, shown, _ = await call(rest, method, path, body, **bearer)
        assert status == expected, (method, path, shown)


async def test_an_account_changes_what_is_its_own(rest: aiohttp.ClientSession, domain: str) -> None:
    address = await new_account(rest, domain)
    _, token, _ = await call(rest, "POST", "/v1/tokens", {"name": "t", "scope": "account", "account": address})
    bearer = {"Authorization": f"Bearer {token['secret']}"}
    for body, expected in [
        ({"display_name": "Me", "forward_to": ["me@x.test"]}, 200),
        ({"quota_octets": None}, 403),
        ({"state": "disabled"}, 403),
    ]:
        assert (await call(rest, "PATCH", f"/v1/accounts/{address}", body, **bearer))[0] == expected
    assert (await call(rest, "DELETE", f"/v1/accounts/{address}", **bearer))[0] == 403
    assert (await call(rest, "GET", "/v1/accounts", **bearer))[0] == 403


async def test_a_new_password_counts_at_once(rest: aiohttp.ClientSession, store: StoreClient, domain: str) -> None:
    address = await new_account(rest, domain)
    _, token, _ = await call(rest, "POST", "/v1/tokens", {"name": "t", "scope": "account", "account": address})
    bearer = {"Authorization": f"Bearer {token['secret']}"}
    path = f"/v1/accounts/{address}/password"

    async def logs_in(password: str) -> bool:
        credentials = wire.Credentials(username=address, password=password, protocol="imap", peer="192.0.2.1")
        try:
            await store.authenticate(credentials)
        except AuthenticationFailed:
            return False
        return True

    assert await logs_in("long enough")
    assert (await call(rest, "PUT", path, {"password": "short"}))[0] == 422
    assert (await call(rest, "PUT", path, {"password": "another one"}))[0] == 204
    assert not await logs_in("long enough")
    assert await logs_in("another one")
    assert (await call(rest, "PUT", path, {"password": "a third one"}, **bearer))[0] == 403
    wrong = {"password": "a third one", "current_password": "wrong"}
    assert (await call(rest, "PUT", path, wrong, **bearer))[0] == 422
    right = {"password": "a third one", "current_password": "another one"}
    assert (await call(rest, "PUT", path, right, **bearer))[0] == 204
    assert await logs_in("a third one")


async def test_mailboxes_are_made_changed_and_deleted(rest: aiohttp.ClientSession, domain: str) -> None:
    address = await new_account(rest, domain)
    path = f"/v1/accounts/{address}/mailboxes"
    status, made, etag = await call(rest, "POST", path, {"name": "a/b"})
    assert (status, made["name"], made["messages"]) == (201, "a/b", 0)
    assert (await call(rest, "POST", path, {"name": "a/b"}))[0] == 409
    assert (await call(rest, "POST", path, {"name": "a//b"}))[0] == 422
    assert (await call(rest, "POST", path, {"name": "s", "special_use": "\\Sent"}))[0] == 409
    one = f"{path}/{made['id']}"
    assert (await call(rest, "GET", one))[2] == etag
    new = {"name": "c", "subscribed": False, "retention_days": 7}
    status, changed, _ = await call(rest, "PATCH", one, new, If_Match=etag)
    assert (status, changed["name"], changed["subscribed"], changed["retention_days"]) == (200, "c", False, 7)
    assert (await call(rest, "PATCH", one, {"name": "d"}, If_Match=etag))[0] == 412
    assert (await call(rest, "DELETE", one, If_Match=etag))[0] == 412
    _, changed, _ = await call(rest, "PATCH", one, {"retention_days": None})
    assert (changed["retention_days"], changed["name"]) == (None, "c")
    assert (await call(rest, "PATCH", one, {"name": None}))[0] == 422
    _, listed, _ = await call(rest, "GET", path)
    assert {"INBOX", "a", "c"} <= {item["name"] for item in listed["items"]}
    _, inbox, _ = await call(rest, "GET", f"{path}/{listed['items'][0]['id']}")
    assert (await call(rest, "DELETE", f"{path}/{inbox['id']}"))[0] == 422
    assert (await call(rest, "DELETE", one))[0] == 204
    assert (await call(rest, "GET", one))[0] == 404
    other = await new_account(rest, domain)
    assert (await call(rest, "GET", f"/v1/accounts/{other}/mailboxes/{inbox['id']}"))[0] == 404
