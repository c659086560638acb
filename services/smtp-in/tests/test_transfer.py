"""End of data against a real store: the reply says what became of the message."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mail_runtime.store_client import StoreClient
from mail_testkit.clients import Rest
from mail_testkit.running import RunningPostroom
from smtp_in import transfer
from smtp_in.transfer import Envelope
from smtp_in.transfer import transfer as transfer_message

MESSAGE = b"Subject: x\r\n\r\nbody\r\n"


def envelope(*recipients: str) -> Envelope:
    return Envelope(
        listener="mx",
        protocol="ESMTP",
        client_name="client.test",
        client_address="192.0.2.1",
        server_name="mx.test",
        reverse_path="a@elsewhere.test",
        recipients=recipients,
        submitted_by=None,
        smtputf8=False,
    )


async def test_replies(postroom: RunningPostroom) -> None:
    rest = Rest(postroom)
    user = rest.make_user()
    async with StoreClient(postroom.api_url, postroom.service_token) as store:
        assert (await transfer_message(store, envelope(user.address), MESSAGE)).code == 250
        assert (await transfer_message(store, envelope("nobody@example.test"), MESSAGE)).code == 550
        assert (await transfer_message(store, envelope(user.address), b"Received: x\r\n" * 100 + MESSAGE)).code == 554
        null = replace(envelope(user.address), reverse_path="")
        assert (await transfer_message(store, null, MESSAGE)).code == 250
    first, second = (rest.raw(user, message["id"]) for message in rest.messages(user))
    assert first.startswith(
        b"Return-Path: <a@elsewhere.test>\r\nReceived: from client.test ([192.0.2.1])\r\n\tby mx.test"
    )
    assert first.endswith(b"\r\n" + MESSAGE)
    assert second.startswith(b"Return-Path: <>\r\n")


async def test_without_a_store_the_client_keeps_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "RETRY_PAUSES_S", (0.0,))
    async with StoreClient("http://127.0.0.1:1", "token") as store:
        reply = await transfer_message(store, envelope("a@example.test"), MESSAGE)
    assert (reply.code, reply.status) == (451, "4.3.0")
