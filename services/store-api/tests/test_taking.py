"""Many claims, and many reports, in one call: each is answered as it would be by itself."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import Conflict
from mail_runtime.store_client import StoreClient
from store_api.queue import taking

pytestmark = pytest.mark.usefixtures("no_relay")


def message(number: int, octets: int = 100) -> bytes:
    return b"From: a@example.test\r\nSubject: %d\r\n\r\n" % number + b"x" * 70 * (octets // 70) + b"\r\n"


async def queued(
    store: StoreClient, rest: aiohttp.ClientSession, account: Any, octets: bytes, recipients: list[str]
) -> list[UUID]:
    """Delivery ids in the order of the recipients."""
    sent = wire.Transmission(id=uuid4(), reverse_path=account.address, recipients=recipients, submitted_by=account.id)
    await store.accept(sent, octets)
    async with rest.get("/v1/queue", params={"sender": account.address, "limit": 1000}) as response:
        items = {item["recipient"]: UUID(item["id"]) for item in (await response.json())["items"]}
    return [items[recipient] for recipient in recipients]


def wanted(*delivery_ids: UUID) -> wire.ClaimDeliveries:
    return wire.ClaimDeliveries(delivery_ids=list(delivery_ids), lease=uuid4(), lease_s=60, with_message=True)


async def test_what_can_be_had_comes_with_its_octets(
    store: StoreClient, rest: aiohttp.ClientSession, account: Any
) -> None:
    domains = [f"d{uuid4().hex[:10]}.invalid" for _ in range(3)]
    first, second = await queued(store, rest, account, message(1), [f"a@{domains[0]}", f"b@{domains[0]}"])
    (other,) = await queued(store, rest, account, message(2), [f"a@{domains[1]}"])
    (taken_before,) = await queued(store, rest, account, message(3), [f"a@{domains[2]}"])
    await store.claim(wanted(taken_before))
    both, none, one, unknown = await store.claim_all(
        [wanted(first, second), wanted(taken_before), wanted(other), wanted(uuid4())]
    )
    assert isinstance(none, Conflict)
    assert isinstance(unknown, Conflict)
    assert isinstance(both, wire.Claim)
    assert isinstance(one, wire.Claim)
    assert (both.message, one.message) == (message(1), message(2))
    assert {delivery.id for delivery in both.deliveries} == {first, second}
    assert one.octets == len(message(2))


async def test_an_answer_isnt_larger_than_it_may_be(
    store: StoreClient, rest: aiohttp.ClientSession, account: Any
) -> None:
    domain = f"d{uuid4().hex[:10]}.invalid"
    large = message(1, taking.ENCLOSED_OCTETS + 100)
    (too_large,) = await queued(store, rest, account, large, [f"a@{domain}"])
    full = taking.ANSWER_OCTETS // taking.ENCLOSED_OCTETS
    recipients = [f"{n}@{n}.{domain}" for n in range(full + 1)]
    just_so = message(2, taking.ENCLOSED_OCTETS - 100)
    to_many = await queued(store, rest, account, just_so, recipients)
    found = await store.claim_all([wanted(too_large), *map(wanted, to_many)])
    messages = []
    for each in found:
        assert isinstance(each, wire.Claim)
        messages.append(each.message)
    assert messages == [None, *[just_so] * full, None], "one to several domains is in it for each of them"
    last = found[-1]
    assert isinstance(last, wire.Claim)
    assert await store.queued_message(last.transmission_id) == just_so


async def test_reports_are_answered_one_by_one(store: StoreClient, rest: aiohttp.ClientSession, account: Any) -> None:
    domain = f"d{uuid4().hex[:10]}.invalid"
    there, gone, lost = await queued(store, rest, account, message(1), [f"{name}@{domain}" for name in "abc"])
    claims = [wanted(there), wanted(gone), wanted(lost)]
    await store.claim_all(claims)
    outcomes = [
        wire.Outcome(delivery_id=there, result="delivered", reply="250 ok", remote="mx.test"),
        wire.Outcome(delivery_id=gone, result="failed", reply="550 no", status="5.1.1", remote="mx.test"),
        wire.Outcome(delivery_id=lost, result="delivered", reply="250 ok", remote="mx.test"),
    ]
    reports = [
        wire.Outcomes(lease=claim.lease, outcomes=[outcome])
        for claim, outcome in zip([*claims[:2], wanted(lost)], outcomes, strict=True)
    ]
    delivered, failed, fenced = await store.report_all(reports)
    assert delivered is failed is None
    assert isinstance(fenced, Conflict)
    assert [type(answer) for answer in await store.report_all(reports)] == [type(None), type(None), Conflict]
    async with rest.get("/v1/queue", params={"domain": domain}) as response:
        states = {UUID(item["id"]): item["state"] for item in (await response.json())["items"]}
    assert states == {there: "delivered", gone: "failed", lost: "sending"}
    assert len((await store.changes(account.id, account.inbox.id)).uids) == 1, "one DSN, however often it is reported"


async def test_what_is_taken_is_signed(store: StoreClient, rest: aiohttp.ClientSession) -> None:
    name, domain = f"s{uuid4().hex[:10]}.test", f"d{uuid4().hex[:10]}.invalid"
    for path, body in [
        ("/v1/domains", {"name": name}),
        (f"/v1/domains/{name}/dkim-keys", {"algorithm": "rsa-sha256", "selector": "r"}),
        (f"/v1/domains/{name}/dkim-keys", {"algorithm": "ed25519-sha256", "selector": "e"}),
        (f"/v1/domains/{name}/dkim-keys/r/activate", None),
        (f"/v1/domains/{name}/dkim-keys/e/activate", None),
    ]:
        async with rest.post(path, json=body) as response:
            assert response.status in {200, 201}, await response.text()
    async with rest.post("/v1/accounts", json={"address": f"x@{name}", "password": "long enough"}) as response:
        account_id = UUID((await response.json())["id"])
    recipients = [f"a@{domain}"]
    sent = wire.Transmission(id=uuid4(), reverse_path=f"x@{name}", recipients=recipients, submitted_by=account_id)
    await store.accept(sent, message(1))
    async with rest.get("/v1/queue", params={"domain": domain}) as response:
        (item,) = (await response.json())["items"]
    (taken,) = await store.claim_all([wanted(UUID(item["id"]))])
    assert isinstance(taken, wire.Claim)
    assert taken.message is not None
    assert taken.message.endswith(message(1))
    on_top = taken.message[: -len(message(1))]
    assert on_top.count(b"DKIM-Signature:") == 2
    assert f"d={name}".encode() in on_top
