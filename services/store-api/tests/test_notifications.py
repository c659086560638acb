"""What senders are told: of failures, delays and successes, as they asked (RFC 3461, RFC 3464)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from email import message_from_bytes
from email.message import Message
from email.policy import SMTP
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from mail_runtime.contracts import store as wire
from mail_runtime.store_client import StoreClient
from mail_testkit.clients import TIMEOUT_S
from store_api.db.engine import Database, run

MESSAGE = b"From: a@example.test\r\nSubject: outward\r\nMessage-ID: <1@example.test>\r\n\r\nthe body\r\n"


pytestmark = pytest.mark.usefixtures("no_relay")


@pytest.fixture
def domain() -> str:
    return f"d{uuid4().hex[:10]}.invalid"


class Sending:
    """One transmission of an account, and the worker that has it."""

    def __init__(self, store: StoreClient, rest: aiohttp.ClientSession, account: Any) -> None:
        self.store, self.rest, self.account = store, rest, account
        self.ids: dict[str, UUID] = {}
        self.lease = uuid4()

    async def submit(self, *recipients: str, reverse_path: str | None = None, **more: Any) -> None:
        sent = wire.Transmission(
            id=uuid4(),
            reverse_path=self.account.address if reverse_path is None else reverse_path,
            recipients=list(recipients),
            submitted_by=self.account.id,
            **more,
        )
        await self.store.accept(sent, MESSAGE)
        async with self.rest.get("/v1/queue", params={"transmission_id": str(sent.id)}) as response:
            self.ids = {item["recipient"]: UUID(item["id"]) for item in (await response.json())["items"]}

    async def claim(self) -> None:
        self.lease = uuid4()
        wanted = wire.ClaimDeliveries(delivery_ids=list(self.ids.values()), lease=self.lease, lease_s=60)
        await self.store.claim(wanted)

    async def report(self, recipient: str, result: Any, status: str, reply: str, **more: Any) -> None:
        outcome = wire.Outcome(
            delivery_id=self.ids[recipient], result=result, reply=reply, status=status, remote="mx.x.test", **more
        )
        await self.store.report(wire.Outcomes(lease=self.lease, outcomes=[outcome]))

    async def told(self, number: int) -> list[Message]:
        """All notifications in the sender's INBOX, as soon as there are `number`."""
        while True:
            changes = await self.store.changes(self.account.id, self.account.inbox.id)
            if len(changes.uids) >= number:
                bodies = await self.store.bodies(self.account.id, changes.blob_ids)
                return [message_from_bytes(body, policy=SMTP) for body in bodies]
            await asyncio.sleep(0.05)

    async def shown(self, recipient: str) -> Any:
        async with self.rest.get(f"/v1/queue/{self.ids[recipient]}") as response:
            return await response.json()


@pytest.fixture
async def sending(store: StoreClient, rest: aiohttp.ClientSession, account: Any) -> AsyncIterator[Sending]:
    async with asyncio.timeout(TIMEOUT_S):
        yield Sending(store, rest, account)


def groups(told: Message) -> list[Any]:
    """The fields of the message, then of each recipient (RFC 3464 §2.1)."""
    assert told.get_content_type() == "multipart/report"
    found: list[Any] = told.get_payload(1).get_payload()  # type: ignore[union-attr]
    return found


async def test_what_was_asked_for_stands_in_the_report(sending: Sending, domain: str) -> None:
    gone = f"gone@{domain}"
    asked = wire.DsnRequest(notify=["failure"], orcpt=f"rfc822;Gone@{domain}")
    await sending.submit(gone, ret="full", envid="QQ 314159", dsn={gone: asked})
    await sending.claim()
    await sending.report(gone, "failed", "5.1.1", "550 5.1.1 no such user", address="192.0.2.1", tls="TLSv1.3 X")
    (told,) = await sending.told(1)
    message, recipient = groups(told)
    assert (message["Original-Envelope-Id"], recipient["Action"]) == ("QQ 314159", "failed")
    assert recipient["Original-Recipient"] == f"rfc822;Gone@{domain}"
    assert (recipient["Final-Recipient"], recipient["Status"]) == (f"rfc822; {gone}", "5.1.1")
    assert recipient["Diagnostic-Code"] == "smtp; 550 5.1.1 no such user"
    returned: Any = told.get_payload(2)
    assert returned.get_content_type() == "message/rfc822"
    assert b"the body" in returned.as_bytes(), "RET=FULL brings the message back"
    (attempt,) = (await sending.shown(gone))["history"]
    assert (attempt["address"], attempt["tls"]) == ("192.0.2.1", "TLSv1.3 X")


async def test_success_is_reported_where_the_next_hop_does_not(sending: Sending, domain: str) -> None:
    here, there, quiet = f"here@{domain}", f"there@{domain}", f"quiet@{domain}"
    wanted = wire.DsnRequest(notify=["success", "failure"])
    await sending.submit(here, there, quiet, dsn={here: wanted, there: wanted})
    await sending.claim()
    await sending.report(there, "delivered", "2.0.0", "250 ok", dsn_passed_on=True)
    await sending.report(quiet, "delivered", "2.0.0", "250 ok")
    await sending.report(here, "delivered", "2.0.0", "250 ok")
    (told,) = await sending.told(1)
    (_, recipient) = groups(told)
    assert (recipient["Final-Recipient"], recipient["Action"]) == (f"rfc822; {here}", "relayed")


async def test_never_means_never_and_the_null_sender_hears_nothing(sending: Sending, domain: str) -> None:
    never, other, plain = f"never@{domain}", f"other@{domain}", f"plain@{domain}"
    asked = {never: wire.DsnRequest(notify=["never"]), other: wire.DsnRequest(notify=["success"])}
    await sending.submit(never, other, plain, dsn=asked)
    await sending.claim()
    for recipient in (never, other, plain):
        await sending.report(recipient, "failed", "5.0.0", "550 no")
    (told,) = await sending.told(1)
    assert [group["Final-Recipient"] for group in groups(told)[1:]] == [f"rfc822; {plain}"]
    await sending.submit(plain, reverse_path="")
    await sending.claim()
    await sending.report(plain, "failed", "5.0.0", "550 no")
    assert (await sending.shown(plain))["state"] == "failed"
    assert len(await sending.told(1)) == 1


async def test_a_delivery_here_is_reported_when_asked_for(
    sending: Sending, rest: aiohttp.ClientSession, other_account: Any
) -> None:
    wanted = wire.DsnRequest(notify=["success"], orcpt=f"rfc822;{other_account.address}")
    await sending.submit(other_account.address, dsn={other_account.address: wanted}, envid="x1")
    (told,) = await sending.told(1)
    message, recipient = groups(told)
    assert (message["Original-Envelope-Id"], recipient["Action"]) == ("x1", "delivered")


async def test_a_delay_is_told_once_and_the_end_as_well(sending: Sending, database: Database, domain: str) -> None:
    slow, silent = f"slow@{domain}", f"silent@{domain}"
    await sending.submit(slow, silent, dsn={silent: wire.DsnRequest(notify=["failure"])})
    await sending.claim()
    for recipient in (slow, silent):
        await sending.report(recipient, "deferred", "4.2.0", "450 4.2.0 later")
    await move(database, sending.ids[slow], "delay_at = now()")
    (told,) = await sending.told(1)
    (_, recipient) = groups(told)
    assert (recipient["Action"], recipient["Status"]) == ("delayed", "4.2.0")
    assert recipient["Will-Retry-Until"]
    assert (await sending.shown(slow))["state"] == "deferred"
    for delivery_id in sending.ids.values():
        await move(database, delivery_id, "expires_at = now(), next_attempt_at = now()")
    ended = (await sending.told(2))[1]
    told_of = {group["Final-Recipient"]: group["Action"] for group in groups(ended)[1:]}
    assert told_of == {f"rfc822; {slow}": "failed", f"rfc822; {silent}": "failed"}
    assert (await sending.shown(slow))["last_reply"] == "gave up; the last answer was: 450 4.2.0 later"


async def move(database: Database, delivery_id: UUID, change: str) -> None:
    """Let time pass for one delivery."""
    async with database.transaction() as connection:
        await run(connection, f"UPDATE delivery SET {change} WHERE id = :id", id=delivery_id)
