"""Domains that are tried in a way of their own: set over REST, and what becomes of deliveries then."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from mail_runtime.contracts import store as wire
from mail_runtime.store_client import StoreClient
from mail_testkit.running import RunningPostroom

MESSAGE = b"From: a@example.test\r\nSubject: outward\r\n\r\nbody\r\n"


@pytest.fixture
async def domain(rest: aiohttp.ClientSession) -> AsyncIterator[str]:
    name = f"d{uuid4().hex[:10]}.invalid"
    yield name
    async with rest.delete(f"/v1/remote-domains/{name}"):
        pass


async def put(rest: aiohttp.ClientSession, domain: str, *, if_match: str = "", **settings: Any) -> tuple[int, Any]:
    headers = {"If-Match": if_match} if if_match else {}
    async with rest.put(f"/v1/remote-domains/{domain}", json=settings, headers=headers) as response:
        return response.status, await response.json()


async def test_set_read_listed_and_removed(rest: aiohttp.ClientSession, domain: str) -> None:
    status, made = await put(rest, domain.upper(), retry_first_s=900, defer_permanent=True)
    assert (status, made["name"], made["retry_first_s"], made["lifetime_s"]) == (201, domain, 900, None)
    status, changed = await put(rest, domain, lifetime_s=86_400)
    assert (status, changed["retry_first_s"], changed["lifetime_s"], changed["defer_permanent"]) == (
        200,
        None,
        86_400,
        False,
    )
    async with rest.get(f"/v1/remote-domains/{domain}") as response:
        assert await response.json() == changed
        etag = response.headers["ETag"]
    assert (await put(rest, domain, if_match='"other"', retry_first_s=5))[0] == 412
    assert (await put(rest, domain, if_match=etag, retry_first_s=5))[0] == 200
    names, cursor = [], None
    while cursor is not None or not names:
        async with rest.get("/v1/remote-domains", params={"cursor": cursor} if cursor else {}) as response:
            page = await response.json()
        names += [item["name"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert domain in names
    async with rest.get("/v1/audit", params={"object": domain, "action": "remote_domain.put"}) as response:
        assert next(item["detail"] for item in (await response.json())["items"]) == {"retry_first_s": 5}
    async with rest.delete(f"/v1/remote-domains/{domain}") as response:
        assert response.status == 204
    async with rest.get(f"/v1/remote-domains/{domain}") as response:
        assert response.status == 404
    assert (await put(rest, domain, if_match=etag))[0] == 412, "it was removed meanwhile"


async def test_what_makes_no_sense_is_refused(rest: aiohttp.ClientSession, domain: str) -> None:
    assert (await put(rest, domain, retry_first_s=0))[0] == 422
    assert (await put(rest, domain, retry_first_s=100, retry_longest_s=10))[0] == 422
    assert (await put(rest, "no..domain", retry_first_s=100))[0] == 422


async def test_only_the_systems_admin_may(rest: aiohttp.ClientSession, postroom: RunningPostroom, domain: str) -> None:
    async with rest.post("/v1/tokens", json={"name": "t", "scope": "domain", "domain": "example.test"}) as response:
        token = (await response.json())["secret"]
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(postroom.api_url, headers=headers) as theirs:
        assert (await put(theirs, domain, retry_first_s=5))[0] == 403
        async with theirs.get("/v1/remote-domains") as response:
            assert response.status == 403


async def submit(store: StoreClient, rest: aiohttp.ClientSession, account: Any, domain: str) -> Any:
    """The queued delivery."""
    sent = wire.Transmission(
        id=uuid4(), reverse_path=account.address, recipients=[f"a@{domain}"], submitted_by=account.id
    )
    await store.accept(sent, MESSAGE)
    async with rest.get("/v1/queue", params={"transmission_id": str(sent.id)}) as response:
        (delivery,) = (await response.json())["items"]
    return delivery


async def tried(store: StoreClient, rest: aiohttp.ClientSession, delivery: Any, **outcome: Any) -> Any:
    """An attempt with this outcome; the delivery after it."""
    delivery_id, lease = UUID(delivery["id"]), uuid4()
    await store.claim(wire.ClaimDeliveries(delivery_ids=[delivery_id], lease=lease, lease_s=60))
    reported = wire.Outcome(delivery_id=delivery_id, remote="mx.x.test", **outcome)
    await store.report(wire.Outcomes(lease=lease, outcomes=[reported]))
    async with rest.get(f"/v1/queue/{delivery_id}") as response:
        return await response.json()


def after(delivery: Any, field: str, start: datetime) -> timedelta:
    return datetime.fromisoformat(delivery[field]) - start


@pytest.mark.usefixtures("no_relay")
async def test_deliveries_go_by_the_settings_of_their_domain(
    store: StoreClient, rest: aiohttp.ClientSession, account: Any, domain: str
) -> None:
    await put(rest, domain, retry_first_s=10_000, retry_longest_s=15_000, lifetime_s=100_000, defer_permanent=True)
    delivery = await submit(store, rest, account, domain)
    created = datetime.fromisoformat(delivery["created_at"])
    assert after(delivery, "expires_at", created) == pytest.approx(timedelta(seconds=100_000), abs=timedelta(seconds=5))
    started = datetime.now(UTC)
    refused = await tried(store, rest, delivery, result="failed", reply="550 not now", status="5.7.1")
    assert refused["state"] == "deferred", "5xx counts as 4xx here"
    pause = after(refused, "next_attempt_at", started).total_seconds()
    assert 0.8 * 10_000 <= pause <= 1.2 * 10_000 + 60
    async with rest.post(f"/v1/queue/{delivery['id']}/retry") as response:
        assert response.status == 200
    started = datetime.now(UTC)
    again = await tried(store, rest, delivery, result="deferred", reply="451 later", status="4.2.0")
    pause = after(again, "next_attempt_at", started).total_seconds()
    assert 0.8 * 15_000 <= pause <= 1.2 * 15_000 + 60, "twice as long is more than the longest"
    async with rest.delete(f"/v1/remote-domains/{domain}") as response:
        assert response.status == 204
    async with rest.post(f"/v1/queue/{delivery['id']}/retry") as response:
        assert response.status == 200
    ended = await tried(store, rest, delivery, result="failed", reply="550 not now", status="5.7.1")
    assert ended["state"] == "failed", "as everywhere"
