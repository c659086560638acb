"""Putting messages into mailboxes over REST."""

from __future__ import annotations

import io
import uuid

import aiohttp
import msgspec
import pytest

from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import NotFound, OverQuota, Refused
from mail_runtime.contracts.framing import pack_envelope, pack_stream
from mail_runtime.store_client import StoreClient

from .conftest import MESSAGE, Account

HEADERS = {"Content-Type": "message/rfc822"}


def messages_of(account: Account) -> str:
    return f"/v1/accounts/{account.address}/mailboxes/{account.inbox.id}/messages"


async def test_a_message_is_kept_as_it_is(rest: aiohttp.ClientSession, store: StoreClient, account: Account) -> None:
    query = {"flags": "\\Seen $Work", "received_at": "2024-02-29T12:30:15+01:00"}
    async with rest.post(messages_of(account), data=MESSAGE, params=query, headers=HEADERS) as response:
        assert response.status == 201
        assert (await response.json())["uid"] == 1
    async with rest.get(messages_of(account)) as response:
        [listed] = (await response.json())["items"]
    assert (set(listed["flags"]), listed["received_at"]) == ({"\\Seen", "$Work"}, "2024-02-29T11:30:15Z")
    async with rest.get(f"/v1/accounts/{account.address}/messages/{listed['id']}/raw") as response:
        assert await response.read() == MESSAGE


async def test_the_same_key_stores_it_once(rest: aiohttp.ClientSession, account: Account) -> None:
    headers = HEADERS | {"Idempotency-Key": str(uuid.uuid4())}
    answers = []
    for _ in range(3):
        async with rest.post(messages_of(account), data=MESSAGE, headers=headers) as response:
            assert response.status == 201
            answers.append(await response.json())
    assert answers[0] == answers[1] == answers[2]
    async with rest.get(messages_of(account)) as response:
        assert len((await response.json())["items"]) == 1


async def test_a_large_message_passes(rest: aiohttp.ClientSession, account: Account) -> None:
    large = MESSAGE + b"x" * 76 + b"\r\n"
    large += b"y" * 3_000_000
    async with rest.post(messages_of(account), data=io.BytesIO(large), headers=HEADERS) as response:
        assert response.status == 201


@pytest.mark.parametrize(
    ("query", "headers", "status", "kind"),
    [
        ({"flags": "bad(flag"}, HEADERS, 422, "refused"),
        ({"received_at": "yesterday"}, HEADERS, 422, "invalid-request"),
        ({"received_at": "2024-02-29T12:30:15"}, HEADERS, 422, "invalid-request"),
        ({"colour": "red"}, HEADERS, 422, "invalid-request"),
        ({}, {"Content-Type": "application/json"}, 415, "unsupported-media-type"),
    ],
)
async def test_what_is_refused(
    rest: aiohttp.ClientSession,
    account: Account,
    query: dict[str, str],
    headers: dict[str, str],
    status: int,
    kind: str,
) -> None:
    async with rest.post(messages_of(account), data=MESSAGE, params=query, headers=headers) as response:
        assert response.status == status
        assert (await response.json())["type"] == f"/problems/{kind}"
    async with rest.get(messages_of(account)) as response:
        assert (await response.json())["items"] == []


async def test_a_mailbox_of_another(rest: aiohttp.ClientSession, account: Account, other_account: Account) -> None:
    path = f"/v1/accounts/{account.address}/mailboxes/{other_account.inbox.id}/messages"
    async with rest.post(path, data=MESSAGE, headers=HEADERS) as response:
        assert response.status == 404
    async with rest.get(messages_of(other_account)) as response:
        assert (await response.json())["items"] == []


async def test_messages_of_several_sessions_are_stored_each_for_itself(
    rest: aiohttp.ClientSession, store: StoreClient, account: Account, other_account: Account
) -> None:
    """A bad one fails alone, and each has the answer that it would get alone."""
    async with rest.patch(f"/v1/accounts/{other_account.address}", json={"quota_octets": 1}) as response:
        assert response.status == 200, await response.text()
    nowhere, archive = uuid.uuid4(), account.mailboxes["Archive"].id
    seen, bad = wire.AppendHeader(flags=["\\Seen"]), wire.AppendHeader(flags=["not a flag"])
    wanted = [
        (account, account.inbox.id, seen),
        (account, nowhere, seen),
        (account, account.inbox.id, bad),
        (other_account, other_account.inbox.id, seen),
        (account, other_account.mailboxes["Archive"].id, seen),
        (account, archive, seen),
        (account, account.inbox.id, wire.AppendHeader()),
        (account, other_account.inbox.id, seen),
        (other_account, account.inbox.id, seen),
    ]
    given = [
        (wire.HandedAppend(account_id=one.id, mailbox_id=mailbox_id, header=header), b"Subject: %d\r\n\r\n" % number)
        for number, (one, mailbox_id, header) in enumerate(wanted)
    ]
    answers = await store._append_set(given)
    alike = [wire.Appended, NotFound, Refused, OverQuota, NotFound, wire.Appended, wire.Appended, NotFound, NotFound]
    assert [type(answer) for answer in answers] == alike
    inbox = await store.changes(account.id, account.inbox.id)
    assert inbox.uids == [answers[0].uid, answers[6].uid]
    assert inbox.flags == [["\\Seen"], []]
    assert await store.bodies(account.id, inbox.blob_ids) == [given[0][1], given[6][1]]
    [kept] = (await store.changes(account.id, archive)).blob_ids
    assert await store.bodies(account.id, [kept]) == [given[5][1]]


async def test_a_set_of_messages_has_as_many_as_it_says(store: StoreClient, account: Account) -> None:
    header = wire.HandedAppend(account_id=account.id, mailbox_id=account.inbox.id, header=wire.AppendHeader())
    for headers, messages in (([], []), ([header], []), ([header], [MESSAGE, MESSAGE])):
        sent = pack_envelope(msgspec.msgpack.encode(headers), b"".join(pack_stream(messages)))
        with pytest.raises(Refused):
            await store._call("POST", "/append-sets", sent)
    assert (await store.changes(account.id, account.inbox.id)).uids == []
