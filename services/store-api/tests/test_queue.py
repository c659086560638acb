"""The outbound queue: exactly one worker may send, and every recipient ends delivered or bounced."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import msgspec
import pytest

from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import Conflict
from mail_runtime.store_client import StoreClient

MESSAGE = b"From: a@example.test\r\nSubject: outward\r\n\r\nbody\r\n"


@pytest.fixture
def domain() -> str:
    """A domain that isn't in DNS; each test has its own."""
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


async def act(rest: aiohttp.ClientSession, path: str, body: Any = None) -> tuple[int, Any]:
    async with rest.post(f"/v1/queue/{path}", json=body) as response:
        return response.status, await response.json()


async def states(rest: aiohttp.ClientSession, domain: str) -> list[str]:
    async with rest.get("/v1/queue", params={"domain": domain.upper()}) as response:
        return [item["state"] for item in (await response.json())["items"]]


@pytest.mark.usefixtures("no_relay")
async def test_holding_releasing_and_cancelling(
    store: StoreClient, rest: aiohttp.ClientSession, account: Any, domain: str
) -> None:
    first, second = await submit(store, rest, account, domain)
    assert await act(rest, "hold", {"domain": domain}) == (200, {"changed": 2})
    assert await states(rest, domain) == ["held", "held"]
    wanted = wire.ClaimDeliveries(delivery_ids=[first, second], lease=uuid4(), lease_s=60)
    with pytest.raises(Conflict):
        await store.claim(wanted)
    assert (await act(rest, f"{first}/hold"))[0] == 409
    status, shown = await act(rest, f"{first}/release")
    assert (status, shown["state"], shown["history"]) == (200, "queued", [])
    assert [d.id for d in (await store.claim(wanted)).deliveries] == [first]
    assert sorted(await states(rest, domain)) == ["held", "sending"]
    for action in ("hold", "cancel", "retry"):
        assert (await act(rest, f"{first}/{action}"))[0] == 409, "a lease that runs is not broken"
        assert await act(rest, action, {"ids": [str(first)]}) == (200, {"changed": 0})
    outcome = wire.Outcome(delivery_id=first, result="deferred", reply="451 later", remote="mx.x.test", status="4.2.0")
    await store.report(wire.Outcomes(lease=wanted.lease, outcomes=[outcome]))
    async with rest.get(f"/v1/queue/{first}") as response:
        shown = await response.json()
    assert (shown["state"], shown["attempts"]) == ("deferred", 1)
    assert [(a["result"], a["reply"], a["remote"]) for a in shown["history"]] == [
        ("deferred", "451 later", "mx.x.test")
    ]
    _, retried = await act(rest, f"{first}/retry")
    assert retried["next_attempt_at"] < shown["next_attempt_at"]
    assert await act(rest, "cancel", {"sender": account.address.upper()}) == (200, {"changed": 2})
    assert await states(rest, domain) == ["cancelled", "cancelled"]
    assert await act(rest, "retry", {"domain": domain}) == (200, {"changed": 0})
    assert (await act(rest, f"{uuid4()}/retry"))[0] == 404
    async with rest.get("/v1/audit", params={"action": "queue.cancel", "limit": 1}) as response:
        (noted,) = (await response.json())["items"]
    assert noted["detail"] == {"changed": 2, "sender": account.address.upper()}
    assert (await act(rest, "cancel", {}))[0] == 422, "nobody cancels everything by an empty body"


async def test_lists_are_filtered(
    store: StoreClient, rest: aiohttp.ClientSession, account: Any, other_account: Any, domain: str
) -> None:
    mine = await submit(store, rest, account, domain)
    await submit(store, rest, other_account, domain)
    for params, number in [
        ({"sender": account.address}, 2),
        ({"recipient": f"A@{domain}"}, 2),
        ({"recipient": f"a@{domain}", "sender": account.address}, 1),
        ({"domain": "nowhere.test"}, 0),
        ({"domain": domain, "state": "cancelled"}, 0),
    ]:
        async with rest.get("/v1/queue", params=params) as response:
            items = (await response.json())["items"]
        assert len(items) == number, params
    async with rest.get("/v1/queue", params={"sender": account.address, "limit": 1}) as response:
        page = await response.json()
    async with rest.get(
        "/v1/queue", params={"sender": account.address, "limit": 1, "cursor": page["next_cursor"]}
    ) as response:
        following = await response.json()
    assert {page["items"][0]["id"], following["items"][0]["id"]} == {str(each) for each in mine}
    assert following["next_cursor"] is None


async def test_what_goes_to_a_suppressed_recipient_bounces(
    store: StoreClient, rest: aiohttp.ClientSession, account: Any, domain: str
) -> None:
    path = f"/v1/domains/example.test/suppressions/a@{domain}"
    async with rest.put(path, json={"reason": "asked for it"}) as response:
        assert response.status == 201
    first, second = await submit(store, rest, account, domain)
    while "failed" not in [(await show(rest, each))["state"] for each in (first, second)]:
        await asyncio.sleep(0.05)
    async with rest.get(path) as response:
        assert (await response.json())["reason"] == "asked for it"
    found = [await show(rest, each) for each in (first, second)]
    (suppressed,) = [item for item in found if item["recipient"] == f"a@{domain}"]
    while suppressed["state"] != "failed":
        suppressed = await show(rest, suppressed["id"])
    assert suppressed["last_reply"] == "not sent: the recipient is on the suppression list"
    assert b"suppression list" in b"".join(await bounces(store, account, 2)), "the sender is told"
    async with rest.delete(path) as response:
        assert response.status == 204
    async with rest.get(path) as response:
        assert response.status == 404


async def show(rest: aiohttp.ClientSession, delivery_id: Any) -> Any:
    async with rest.get(f"/v1/queue/{delivery_id}") as response:
        return await response.json()


@pytest.mark.usefixtures("no_relay")
async def test_recipients_that_do_not_exist_are_suppressed_where_the_domain_wants_it(
    store: StoreClient, rest: aiohttp.ClientSession, domain: str
) -> None:
    ours = f"ours-{domain.removesuffix('.invalid')}.test"
    async with rest.post("/v1/domains", json={"name": ours, "suppress_bounced": True}) as response:
        assert response.status == 201
    async with rest.post("/v1/accounts", json={"address": f"x@{ours}", "password": "long enough"}) as response:
        account_id = UUID((await response.json())["id"])
    sent = wire.Transmission(
        id=uuid4(), reverse_path=f"x@{ours}", recipients=[f"A@{domain}", f"b@{domain}"], submitted_by=account_id
    )
    await store.accept(sent, MESSAGE)
    items = {item["recipient"]: UUID(item["id"]) for item in await queued(rest, domain)}
    lease = uuid4()
    await store.claim(wire.ClaimDeliveries(delivery_ids=list(items.values()), lease=lease, lease_s=60))
    failed = [
        wire.Outcome(delivery_id=items[f"A@{domain}"], result="failed", reply="550 no such user", status="5.1.1"),
        wire.Outcome(delivery_id=items[f"b@{domain}"], result="failed", reply="552 mailbox full", status="5.2.2"),
    ]
    await store.report(wire.Outcomes(lease=lease, outcomes=failed))
    async with rest.get(f"/v1/domains/{ours}/suppressions") as response:
        listed = (await response.json())["items"]
    assert [(item["address"], item["reason"]) for item in listed] == [(f"a@{domain}", "bounced: 550 no such user")]


@pytest.mark.usefixtures("no_relay")
async def test_recipients_that_bounce_again_and_again_are_suppressed(
    store: StoreClient, rest: aiohttp.ClientSession, domain: str
) -> None:
    ours = f"ours-{domain.removesuffix('.invalid')}.test"
    async with rest.post("/v1/domains", json={"name": ours, "suppress_after": 2}) as response:
        assert (await response.json())["suppress_after"] == 2
    async with rest.post("/v1/accounts", json={"address": f"x@{ours}", "password": "long enough"}) as response:
        account_id = UUID((await response.json())["id"])

    async def send(result: Any, status: str) -> list[str]:
        """Whom the domain suppresses after one more message with this outcome."""
        sent = wire.Transmission(
            id=uuid4(), reverse_path=f"x@{ours}", recipients=[f"A@{domain}"], submitted_by=account_id
        )
        await store.accept(sent, MESSAGE)
        async with rest.get("/v1/queue", params={"transmission_id": str(sent.id)}) as response:
            (delivery,) = (await response.json())["items"]
        lease, delivery_id = uuid4(), UUID(delivery["id"])
        await store.claim(wire.ClaimDeliveries(delivery_ids=[delivery_id], lease=lease, lease_s=60))
        outcome = wire.Outcome(delivery_id=delivery_id, result=result, reply="what it said", status=status, remote="mx")
        await store.report(wire.Outcomes(lease=lease, outcomes=[outcome]))
        async with rest.get(f"/v1/domains/{ours}/suppressions") as response:
            return [f"{item['address']} {item['reason']}" for item in (await response.json())["items"]]

    assert await send("failed", "5.1.1") == []
    assert await send("delivered", "2.0.0") == [], "that ends the count"
    assert await send("failed", "5.1.1") == []
    assert await send("failed", "5.2.2") == [], "full isn't gone"
    assert await send("failed", "5.1.1") == [f"a@{domain} bounced 2 times: what it said"]
    async with rest.delete(f"/v1/domains/{ours}/suppressions/a@{domain}") as response:
        assert response.status == 204
    assert await send("failed", "5.1.1") == [], "counted anew"


@pytest.mark.usefixtures("no_relay")
async def test_what_the_sender_asked_about_notifications_reaches_the_relay(
    store: StoreClient, rest: aiohttp.ClientSession, account: Any, domain: str
) -> None:
    asked = wire.DsnRequest(notify=["success", "delay"], orcpt=f"rfc822;A@{domain}")
    sent = wire.Transmission(
        id=uuid4(),
        reverse_path=account.address,
        recipients=[f"a@{domain}", f"b@{domain}"],
        submitted_by=account.id,
        ret="hdrs",
        envid="QQ314159",
        dsn={f"a@{domain}": asked},
    )
    await store.accept(sent, MESSAGE)
    delivery_ids = [UUID(item["id"]) for item in await queued(rest, domain)]
    claim = await store.claim(wire.ClaimDeliveries(delivery_ids=delivery_ids, lease=uuid4(), lease_s=60))
    assert (claim.ret, claim.envid) == ("hdrs", "QQ314159")
    assert {d.recipient: (d.notify, d.orcpt) for d in claim.deliveries} == {
        f"a@{domain}": (["success", "delay"], f"rfc822;A@{domain}"),
        f"b@{domain}": (None, ""),
    }


@pytest.mark.usefixtures("no_relay")
@pytest.mark.parametrize("length", [0, 300_000])
async def test_a_small_message_comes_with_its_claim(
    store: StoreClient, rest: aiohttp.ClientSession, account: Any, domain: str, length: int
) -> None:
    message = MESSAGE + b"line  of text \r\n" * (length // 16)
    sent = wire.Transmission(
        id=uuid4(), reverse_path=account.address, recipients=[f"a@{domain}"], submitted_by=account.id
    )
    await store.accept(sent, message)
    lease, delivery_ids = uuid4(), [UUID(item["id"]) for item in await queued(rest, domain)]
    renewed = wire.ClaimDeliveries(delivery_ids=delivery_ids, lease=lease, lease_s=60)
    (claim,) = await store.claim_all([msgspec.structs.replace(renewed, with_message=True)])
    assert isinstance(claim, wire.Claim)
    assert claim.message == (None if length else await store.queued_message(sent.id))
    assert (await store.queued_message(sent.id)).endswith(message)
    assert (await store.claim(renewed)).message is None, "who only goes on has it"


@pytest.mark.usefixtures("no_relay")
@pytest.mark.parametrize(
    ("said", "field", "wish"),
    [
        ("required", "", "required"),
        ("", "TLS-Required: No\r\n", "optional"),
        ("", "TLS-Required: yes\r\n", ""),
        ("required", "tls-required:  no\r\n", "required"),
        ("", "", ""),
    ],
)
async def test_what_the_sender_wants_of_tls_reaches_the_relay(
    store: StoreClient, rest: aiohttp.ClientSession, account: Any, domain: str, said: Any, field: str, wish: str
) -> None:
    """RFC 8689 §4.1: what MAIL said counts more than the header."""
    sent = wire.Transmission(
        id=uuid4(),
        reverse_path=account.address,
        recipients=[f"a@{domain}"],
        submitted_by=account.id,
        ret="full",
        tls_wish=said,
    )
    await store.accept(sent, field.encode() + MESSAGE)
    delivery_ids = [UUID(item["id"]) for item in await queued(rest, domain)]
    lease = uuid4()
    claim = await store.claim(wire.ClaimDeliveries(delivery_ids=delivery_ids, lease=lease, lease_s=60))
    assert claim.tls_wish == wish
    outcome = wire.Outcome(delivery_id=delivery_ids[0], result="failed", reply="no REQUIRETLS", status="5.7.30")
    await store.report(wire.Outcomes(lease=lease, outcomes=[outcome]))
    (bounce,) = await bounces(store, account, 1)
    assert b"Status: 5.7.30" in bounce
    assert (b"\r\nbody\r\n" in bounce) == (wish != "required"), "only the header comes back (§5)"


@pytest.mark.usefixtures("no_relay")
async def test_a_bounce_is_protected_as_its_message_was(
    store: StoreClient, rest: aiohttp.ClientSession, account: Any, domain: str
) -> None:
    """RFC 8689 §5: mail from elsewhere that was forwarded, and comes back."""
    async with rest.patch(f"/v1/accounts/{account.address}", json={"forward_to": [f"a@{domain}"]}) as response:
        assert response.status == 200, await response.text()
    sender = f"s{uuid4().hex[:8]}@back.{domain}"
    sent = wire.Transmission(id=uuid4(), reverse_path=sender, recipients=[account.address], tls_wish="required")
    await store.accept(sent, MESSAGE)
    (delivery_id,) = [UUID(item["id"]) for item in await queued(rest, domain)]
    lease = uuid4()
    claim = await store.claim(wire.ClaimDeliveries(delivery_ids=[delivery_id], lease=lease, lease_s=60))
    assert claim.tls_wish == "required", "who forwards wants what the sender wanted (§6)"
    outcome = wire.Outcome(delivery_id=delivery_id, result="failed", reply="no", status="5.7.30")
    await store.report(wire.Outcomes(lease=lease, outcomes=[outcome]))
    async with rest.get("/v1/queue", params={"recipient": sender}) as response:
        (bounce,) = (await response.json())["items"]
    wanted = wire.ClaimDeliveries(delivery_ids=[UUID(bounce["id"])], lease=uuid4(), lease_s=60)
    told = await store.claim(wanted)
    assert (told.reverse_path, told.tls_wish) == ("", "required")
