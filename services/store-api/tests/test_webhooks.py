"""Webhooks: told once it worked, signed, tried again, and never a way into our own network."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from aiohttp import web

from mail_runtime.contracts.errors import Refused
from mail_testkit.clients import TIMEOUT_S
from store_api.db.engine import Database, run
from store_api.events.addresses import PublicResolver, checked_url, is_public
from store_api.events.outbox import Event, record
from store_api.events.signing import new_secret
from store_api.events.telling import Teller


@dataclass
class Receiver:
    """A server of somebody's: answers with these, one after the other, then 204."""

    url: str = ""
    raw: bytes = b""
    answers: list[int] = field(default_factory=list)
    requests: asyncio.Queue[tuple[dict[str, str], bytes]] = field(default_factory=asyncio.Queue)

    async def handle(self, request: web.Request) -> web.Response:
        await self.requests.put((dict(request.headers), await request.read()))
        status = self.answers.pop(0) if self.answers else 204
        return web.Response(status=status, headers={"Location": self.url} if 300 <= status < 400 else {})

    async def next(self) -> tuple[dict[str, str], Any]:
        async with asyncio.timeout(TIMEOUT_S):
            headers, self.raw = await self.requests.get()
        return headers, json.loads(self.raw)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", receiver.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield receiver
    await runner.cleanup()


async def call(rest: aiohttp.ClientSession, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    async with rest.request(method, f"/v1/webhooks{path}", json=body) as response:
        return response.status, await response.json() if response.status != 204 else None


async def create(rest: aiohttp.ClientSession, account: Any, url: str, *types: str) -> Any:
    status, created = await call(rest, "POST", "", {"url": url, "types": list(types), "account": account.address})
    assert status == 201, created
    return created


async def tell(database: Database, account: Any, event_type: str) -> Event:
    event = Event(event_type, {"number": 1}, account_id=account.id)
    async with database.transaction() as connection:
        await record(connection, [event])
    return event


async def last_state(rest: aiohttp.ClientSession, webhook: Any, *states: str) -> Any:
    """The newest delivery, once it is in one of these states."""
    while True:
        _, listed = await call(rest, "GET", f"/{webhook['id']}/deliveries")
        if listed["items"] and listed["items"][0]["state"] in states:
            return listed["items"][0]
        await asyncio.sleep(0.05)


async def test_an_event_is_told_signed(
    rest: aiohttp.ClientSession, account: Any, other_account: Any, database: Database, receiver: Receiver
) -> None:
    webhook = await create(rest, account, receiver.url, "test.told", "other.*")
    await tell(database, other_account, "test.told")
    await tell(database, account, "test.untold")
    events = [await tell(database, account, each) for each in ("test.told", "other.thing")]
    got = [await receiver.next() for _ in events]
    assert {body["id"] for _, body in got} == {str(event.id) for event in events}
    headers, body = got[-1]
    assert headers["Content-Type"] == "application/cloudevents+json"
    assert (body["accountid"], body["data"]) == (str(account.id), {"number": 1})
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + receiver.raw
    key = base64.b64decode(webhook["secret"].removeprefix("whsec_"))
    expected = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert headers["webhook-id"] == body["id"]
    await last_state(rest, webhook, "delivered")
    assert receiver.requests.empty()


async def test_what_fails_is_tried_again(
    rest: aiohttp.ClientSession, account: Any, database: Database, receiver: Receiver
) -> None:
    webhook = await create(rest, account, receiver.url)
    receiver.answers = [500, 302]
    event = await tell(database, account, "test.again")
    await receiver.next()
    waiting = await last_state(rest, webhook, "waiting")
    while not waiting["last_answer"]:
        waiting = await last_state(rest, webhook, "waiting")
    assert (waiting["attempts"], waiting["last_answer"]) == (1, "500")
    for answer in ("302", "204"):
        assert (await call(rest, "POST", f"/{webhook['id']}/deliveries/{event.id}/retry"))[0] == 202
        headers, _ = await receiver.next()
        assert headers["webhook-id"] == str(event.id), "the same id each time"
        done = await last_state(rest, webhook, "waiting", "delivered")
        while done["last_answer"] != answer:
            done = await last_state(rest, webhook, "waiting", "delivered")
    assert done["state"] == "delivered"
    assert receiver.requests.empty(), "no redirect is followed"
    assert (await call(rest, "POST", f"/{webhook['id']}/deliveries/{uuid4()}/retry"))[0] == 404


async def test_who_is_gone_is_told_no_more(
    rest: aiohttp.ClientSession, account: Any, database: Database, receiver: Receiver
) -> None:
    webhook = await create(rest, account, receiver.url)
    receiver.answers = [410]
    await tell(database, account, "test.gone")
    assert (await last_state(rest, webhook, "failed"))["last_answer"] == "410"
    assert (await call(rest, "GET", f"/{webhook['id']}"))[1]["active"] is False


async def test_ping_change_and_delete(rest: aiohttp.ClientSession, account: Any, receiver: Receiver) -> None:
    webhook = await create(rest, account, receiver.url, "test.never")
    assert "secret" not in (await call(rest, "GET", f"/{webhook['id']}"))[1]
    status, pinged = await call(rest, "POST", f"/{webhook['id']}/ping")
    assert status == 202
    headers, body = await receiver.next()
    assert (body["id"], body["type"], headers["webhook-id"]) == (pinged["event_id"], "webhook.ping", body["id"])
    _, fresh = await call(rest, "POST", f"/{webhook['id']}/secret")
    assert fresh["secret"] != webhook["secret"]
    _, changed = await call(rest, "PATCH", f"/{webhook['id']}", {"active": False, "types": []})
    assert (changed["active"], changed["types"], changed["url"]) == (False, [], receiver.url)
    _, listed = await call(rest, "GET", "?limit=1000")
    assert webhook["id"] in {item["id"] for item in listed["items"]}
    assert (await call(rest, "DELETE", f"/{webhook['id']}"))[0] == 204
    assert (await call(rest, "GET", f"/{webhook['id']}"))[0] == 404


async def test_bad_webhooks_are_refused(rest: aiohttp.ClientSession, account: Any) -> None:
    for body in (
        {"url": "ftp://x.test/"},
        {"url": "https://user:secret@x.test/"},
        {"url": "https:///x"},
        {"url": "x" * 3000},
        {"url": "https://x.test/", "types": ["nonsense"]},
        {"url": "https://x.test/", "domain": "example.test", "account": account.address},
    ):
        assert (await call(rest, "POST", "", body))[0] == 422, body


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::1",
        "2001:0:1::1",
        "no address",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url", ["http://example.com/", "https://127.0.0.1/", "https://[::1]/", "https://10.0.0.1:8080/x"]
)
def test_urls_of_our_own_network_are_refused(url: str) -> None:
    with pytest.raises(Refused):
        checked_url(url, private=False)


@pytest.mark.parametrize("name", ["localhost", "127.1", "2130706433", "0x7f.1"])
async def test_a_name_that_leads_inside_is_not_called(name: str, receiver: Receiver, database: Database) -> None:
    """Whatever spelling of 127.0.0.1 the resolver understands."""
    port = receiver.url.split(":")[2].split("/")[0]
    teller = Teller(database, private=False)
    connector = aiohttp.TCPConnector(resolver=PublicResolver(private=False))
    async with aiohttp.ClientSession(connector=connector) as session:
        answer = await teller.tell(session, f"https://{name}:{port}/", new_secret(), uuid4(), b"{}")
    assert not answer.delivered
    assert receiver.requests.empty()
    assert answer.text.startswith(("ClientConnectorDNSError", "InvalidUrlClientError")), answer.text


async def test_addresses_that_a_name_has_are_checked() -> None:
    """What is checked is what is connected to, so a name can't change its mind in between."""
    with pytest.raises(OSError, match="no public address"):
        await PublicResolver(private=False).resolve("localhost", 443)


async def test_old_deliveries_are_cleaned_up(rest: aiohttp.ClientSession, account: Any, database: Database) -> None:
    webhook = await create(rest, account, "http://127.0.0.1:9/", "test.never")
    async with database.transaction() as connection:
        await run(
            connection,
            "INSERT INTO webhook_delivery (webhook_id, event_id, body, state, created_at)"
            """ VALUES (:id, :event, '{"type":"test.x"}', 'failed', now() - interval '8 days')""",
            id=webhook["id"],
            event=uuid4(),
        )
        await run(
            connection,
            "INSERT INTO webhook_delivery (webhook_id, event_id, body, state)"
            """ VALUES (:id, :event, '{"type":"test.x"}', 'failed')""",
            id=webhook["id"],
            event=uuid4(),
        )
    await Teller(database, private=True).clean()
    _, listed = await call(rest, "GET", f"/{webhook['id']}/deliveries")
    assert len(listed["items"]) == 1
