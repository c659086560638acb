"""The outbound queue: exactly one worker may send, and every recipient ends delivered or bounced."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import Conflict
from mail_runtime.store_client import StoreClient

MESSAGE = b"From: a@example.test\r\nSubject: outward\r\n\r\nbody\r\n"


@pytest.fixture
def domain() -> str:
    """A domain of which the running relay finds nothing in DNS within the test: each test has its own."""
    return f"d{uuid4().hex[:10]}.invalid"


async def queued(rest: aiohttp.ClientSession, domain: str) -> list[dict[str, Any]]:
    async with rest.get("/v1/queue", params={"limit": 1000}) as response:
        items = (await response.json())["items"]
    return [item for item in items if item["recipient"].endswith(domain)]


async def submit(store: StoreClient, rest: aiohttp.ClientSession, account: Any, domain: str) -> list[UUID]:
    sent = wire.Transmission(
        id=uuid4(),
        reverse_path=account.address,
        recipients=[f"a@{domain}", f"b@{domain}"],
        submitted_by=account.id,
    )
    await store.accept(sent, MESSAGE)
    return [UUID(item["id"]) for item in await queued(rest, domain)]


async def bounces(store: StoreClient, account: Any, number: int) -> list[bytes]:
    while True:
        changes = await store.changes(account.id, account.inbox.id)
        if len(changes.uids) >= number:
            return await store.bodies(account.id, changes.blob_ids)
        await asyncio.sleep(0.05)


async def test_a_domain_that_does_not_exist_bounces(
    store: StoreClient, rest: aiohttp.ClientSession, account: Any, domain: str
) -> None:
    await submit(store, rest, account, domain)
    (bounce,) = await bounces(store, account, 1)
    assert b"multipart/report" in bounce
    assert b"Final-Recipient: rfc822; a@" + domain.encode() in bounce
    assert b"Final-Recipient: rfc822; b@" + domain.encode() in bounce
    assert b"Subject: outward" in bounce
    assert {item["state"] for item in await queued(rest, domain)} == {"failed"}


async def test_a_report_without_the_lease_changes_nothing(
    store: StoreClient, rest: aiohttp.ClientSession, account: Any, domain: str
) -> None:
    delivery_ids = await submit(store, rest, account, domain)
    outcomes = [wire.Outcome(delivery_id=d, result="delivered", reply="250 ok") for d in delivery_ids]
    with pytest.raises(Conflict):
        await store.report(wire.Outcomes(lease=uuid4(), outcomes=outcomes))
    with pytest.raises(Conflict):
        await store.claim(wire.ClaimDeliveries(delivery_ids=[uuid4()], lease=uuid4(), lease_s=60))
    assert "delivered" not in {item["state"] for item in await queued(rest, domain)}
