"""End of data against a real store: the reply says what became of the message."""

from __future__ import annotations

import asyncio

import pytest

from mail_proto.smtp.arguments import MailArguments, RcptArguments
from mail_proto.smtp.replies import Reply
from mail_proto.smtp.steps import Envelope
from mail_runtime.contracts.store import Accepted, DsnRequest, Transmission
from mail_runtime.store_client import StoreClient
from mail_testkit.clients import Rest
from mail_testkit.running import RunningPostroom
from smtp_in import transfer
from smtp_in.listener import Listener
from smtp_in.screening import Visitor
from smtp_in.transfer import Arrival, Ingest

MESSAGE = b"Subject: x\r\n\r\nbody\r\n"
DEADLINE_S = 60.0


def arrival(*recipients: str, reverse_path: str = "a@elsewhere.test", lmtp: bool = False) -> Arrival:
    visitor = Visitor(Listener("mx", 25, lmtp=lmtp), "192.0.2.1")
    listed = tuple(RcptArguments(recipient) for recipient in recipients)
    return Arrival(
        visitor, "mx.test", Envelope(MailArguments(reverse_path), listed, "ESMTP", "client.test", is_secure=False)
    )


async def sent(store: Ingest, came: Arrival, message: bytes = MESSAGE, deadline_s: float = DEADLINE_S) -> Reply:
    (reply,) = await transfer.transfer(store, came, message, deadline_s)
    return reply


async def test_replies(postroom: RunningPostroom) -> None:
    rest = Rest(postroom)
    user = rest.make_user()
    async with StoreClient(postroom.api_url, postroom.service_token) as store:
        assert (await sent(store, arrival(user.address))).code == 250
        assert (await sent(store, arrival("nobody@example.test"))).code == 550
        assert (await sent(store, arrival(user.address), b"Received: x\r\n" * 100 + MESSAGE)).code == 554
        assert (await sent(store, arrival(user.address, reverse_path=""))).code == 250
    first, second = (rest.raw(user, message["id"]) for message in rest.messages(user))
    assert first.startswith(
        b"Return-Path: <a@elsewhere.test>\r\nReceived: from client.test ([192.0.2.1])\r\n\tby mx.test"
    )
    assert first.endswith(b"\r\n" + MESSAGE)
    assert second.startswith(b"Return-Path: <>\r\n")


async def test_lmtp_says_which_recipient_it_was(postroom: RunningPostroom) -> None:
    rest = Rest(postroom)
    user, other = rest.make_user(), rest.make_user()
    came = arrival(user.address, "nobody@example.test", other.address, other.address, lmtp=True)
    async with StoreClient(postroom.api_url, postroom.service_token) as store:
        replies = await transfer.transfer(store, came, MESSAGE, DEADLINE_S)
    assert [reply.code for reply in replies] == [250, 550, 250, 250]


async def test_without_a_store_the_client_keeps_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "RETRY_PAUSES_S", (0.0,))
    async with StoreClient("http://127.0.0.1:1", "token") as store:
        reply = await sent(store, arrival("a@example.test"))
    assert (reply.code, reply.status) == (451, "4.3.0")


class NeverReady:
    """A store that takes the message and never answers."""

    def __init__(self) -> None:
        self.asked: list[Transmission] = []

    async def accept(self, transmission: Transmission, message: bytes) -> Accepted:
        self.asked.append(transmission)
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_store_that_hangs_is_given_up_in_time() -> None:
    store = NeverReady()
    reply = await sent(store, arrival("a@example.test"), deadline_s=0.01)
    assert (reply.code, reply.status) == (451, "4.3.0")
    assert len(store.asked) == 1


async def test_what_dsn_says_goes_to_the_store() -> None:
    store = NeverReady()
    listed = (
        RcptArguments("a@b.test", ("success", "failure"), "rfc822;x@y.test"),
        RcptArguments("c@b.test"),
        RcptArguments("d@b.test", ("never",)),
    )
    mail = MailArguments("s@b.test", ret="hdrs", envid="QQ314159")
    came = Arrival(arrival("a@b.test").visitor, "mx.test", Envelope(mail, listed, "ESMTP", "c", is_secure=False))
    await sent(store, came, deadline_s=0.01)
    (asked,) = store.asked
    assert (asked.ret, asked.envid) == ("hdrs", "QQ314159")
    assert asked.dsn == {
        "a@b.test": DsnRequest(notify=["success", "failure"], orcpt="rfc822;x@y.test"),
        "d@b.test": DsnRequest(notify=["never"]),
    }
