"""Events: written with what happened, published to the stream afterwards, counted on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import msgspec
import nats
import pytest

from mail_runtime.contracts import store as wire
from mail_runtime.contracts.events import CloudEvent
from mail_runtime.store_client import StoreClient
from mail_testkit.running import RunningPostroom

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
        message = await subscription.next_msg(timeout=20)
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
