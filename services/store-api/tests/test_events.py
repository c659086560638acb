"""Events: written with what happened, published to the stream afterwards, counted on the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import msgspec
import nats
import pytest

from mail_runtime.contracts import store as wire
from mail_runtime.contracts.events import CloudEvent
from mail_runtime.store_client import StoreClient
from mail_testkit.clients import TIMEOUT_S
from mail_testkit.running import RunningPostroom
from store_api.db.engine import Database
from store_api.events.outbox import Event, record

MESSAGE = b"From: a@example.test\r\nSubject: outward\r\n\r\nbody\r\n"


@pytest.fixture
async def jetstream(postroom: RunningPostroom) -> AsyncIterator[Any]:
    client = await nats.connect(postroom.nats_url)
    yield client.jetstream()
    await client.close()


async def events_of(jetstream: Any, account_id: UUID, subject: str) -> AsyncIterator[tuple[CloudEvent, Any]]:
    """Events of one account as they come, from the beginning of the stream."""
    subscription = await jetstream.subscribe(subject, ordered_consumer=True)
    while True:
        message = await subscription.next_msg(timeout=TIMEOUT_S)
        event = msgspec.json.decode(message.data, type=CloudEvent)
        if event.accountid == account_id:
            yield event, message


async def test_an_outcome_is_told_as_a_cloud_event(store: StoreClient, account: Any, jetstream: Any) -> None:
    domain = f"d{uuid4().hex[:10]}.invalid"
    sent = wire.Transmission(
        id=uuid4(), reverse_path=account.address, recipients=[f"a@{domain}"], submitted_by=account.id
    )
    await store.accept(sent, MESSAGE)
    async for event, message in events_of(jetstream, account.id, "events.message.bounced"):
        data = msgspec.json.decode(event.data)
        assert (event.specversion, event.type, event.source[:2]) == ("1.0", "message.bounced", "//")
        assert (data["recipient"], data["transmission_id"]) == (f"a@{domain}", str(sent.id))
        assert message.headers["Nats-Msg-Id"] == str(event.id)
        assert message.headers["Content-Type"] == "application/cloudevents+json"
        assert b"outward" not in message.data, "no subject, no text"
        break


async def lines(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, str]]:
    """Events of a stream (WHATWG HTML §9.2.6), comments left out."""
    fields: dict[str, str] = {}
    async for raw in response.content:
        line = raw.decode().rstrip("\n")
        name, _, value = line.partition(": ")
        if line and name:
            fields[name] = value
        elif not line:
            if "data" in fields:
                yield fields
            fields = {}


async def tell(database: Database, account: Any, *types: str) -> list[Event]:
    events = [Event(each, {"octets": 5}, account.domain_id, account.id) for each in types]
    async with database.transaction() as connection:
        await record(connection, events)
    return events


@pytest.fixture
async def told_account(rest: aiohttp.ClientSession) -> Any:
    """An account of a domain of its own, with a token."""
    domain = f"d{uuid4().hex[:12]}.test"
    async with rest.post("/v1/domains", json={"name": domain}) as response:
        domain_id = UUID((await response.json())["id"])
    async with rest.post("/v1/accounts", json={"address": f"a@{domain}", "password": "long enough"}) as response:
        account_id = UUID((await response.json())["id"])
    token = {"name": "t", "scope": "account", "account": f"a@{domain}"}
    async with rest.post("/v1/tokens", json=token) as response:
        secret = (await response.json())["secret"]
    return SimpleNamespace(id=account_id, domain_id=domain_id, domain=domain, bearer=f"Bearer {secret}")


async def test_events_come_as_they_happen_and_after_a_place(
    rest: aiohttp.ClientSession, database: Database, told_account: Any, account: Any
) -> None:
    headers = {"Authorization": told_account.bearer}
    other = SimpleNamespace(id=account.id, domain_id=None)
    async with rest.get("/v1/events", params={"type": "test.*"}, headers=headers) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        stream = lines(response)
        await tell(database, other, "test.foreign")
        first, second = await tell(database, told_account, "test.one", "test.two")
        await tell(database, told_account, "unwanted.one")
        got = [await anext(stream), await anext(stream)]
    async with rest.get("/v1/events", params={"after": 0, "type": "unwanted.*"}, headers=headers) as response:
        assert (await anext(lines(response)))["event"] == "unwanted.one"
    assert [json.loads(each["data"])["id"] for each in got] == [str(first.id), str(second.id)]
    assert [each["event"] for each in got] == ["test.one", "test.two"]
    again = {**headers, "Last-Event-ID": got[0]["id"]}
    async with rest.get("/v1/events", params={"type": "test.*"}, headers=again) as response:
        assert (await anext(lines(response)))["id"] == got[1]["id"]
    async with rest.get("/v1/events", params={"after": 0, "for_s": 1}, headers=headers) as response:
        found = [each["event"] async for each in lines(response)]
    assert found == ["test.one", "test.two", "unwanted.one"], "the stream ends, and nothing foreign was in it"
    for params in ({"type": "nonsense"}, {"type": "a.b.c"}, {"after": -1}, {"for_s": 0}):
        async with rest.get("/v1/events", params=params) as response:
            assert response.status == 422, params


async def test_events_are_counted_by_day(rest: aiohttp.ClientSession, database: Database, told_account: Any) -> None:
    await tell(database, told_account, "test.counted", "test.counted", "test.else")
    params = {"domain": told_account.domain, "limit": 1}
    while True:
        async with rest.get("/v1/statistics", params=params) as response:
            page = await response.json()
        if page["next_cursor"]:
            break
        await asyncio.sleep(0.05)
    async with rest.get("/v1/statistics", params={**params, "cursor": page["next_cursor"]}) as response:
        following = await response.json()
    counted, another = page["items"] + following["items"]
    assert (counted["type"], counted["events"], counted["octets"]) == ("test.counted", 2, 10)
    assert (another["type"], another["events"], another["domain"]) == ("test.else", 1, told_account.domain)
    async with rest.get("/v1/statistics", params={**params, "until": "2020-01-01"}) as response:
        assert (await response.json())["items"] == []


async def test_events_wait_for_nats(
    postroom: RunningPostroom, rest: aiohttp.ClientSession, database: Database, told_account: Any
) -> None:
    with postroom.stopped("nats"):
        (event,) = await tell(database, told_account, "test.waited")
        async with rest.get("/v1/health") as response:
            health = await response.json()
        assert health["status"] == "degraded"
        assert [part["name"] for part in health["parts"] if not part["ok"]] == ["nats", "smtp-out"]
    headers = {"Authorization": told_account.bearer}
    while True:
        async with rest.get("/v1/events", params={"after": 0}, headers=headers) as response:
            if response.status == 200:
                found = await anext(lines(response))
                break
        await asyncio.sleep(0.1)
    assert json.loads(found["data"])["id"] == str(event.id)


async def test_health_names_the_parts(rest: aiohttp.ClientSession) -> None:
    while True:
        async with rest.get("/v1/health") as response:
            health = await response.json()
        if health["status"] == "ok":
            break
        await asyncio.sleep(0.1)
    assert [part["name"] for part in health["parts"]] == ["postgres", "object-storage", "nats", "smtp-out"]
    while {process["service"] for process in health["processes"]} < {"imap", "smtp-in", "smtp-out", "store-api"}:
        async with rest.get("/v1/health") as response:
            health = await response.json()


async def test_the_audit_log_is_listed(rest: aiohttp.ClientSession, told_account: Any) -> None:
    params = {"domain": told_account.domain}
    async with rest.get("/v1/audit", params=params) as response:
        items = (await response.json())["items"]
    assert [item["action"] for item in items] == ["token.create", "account.create", "domain.create"]
    async with rest.get("/v1/audit", params={**params, "action": "account.create"}) as response:
        (item,) = (await response.json())["items"]
    assert (item["object"], item["actor"]) == (f"a@{told_account.domain}", "admin")
    async with rest.get("/v1/audit", headers={"Authorization": told_account.bearer}) as response:
        assert response.status == 403
