"""Sending over the public REST API."""

from __future__ import annotations

import asyncio
import base64
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from mail_testkit.running import RunningPostroom

RAW = {"Content-Type": "message/rfc822"}


async def sent(rest: aiohttp.ClientSession, account: Any, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    async with rest.post(f"/v1/accounts/{account.address}/send", json=body, headers=headers) as response:
        assert response.status == 202, await response.text()
        answer: dict[str, Any] = await response.json()
        return answer


async def refused(rest: aiohttp.ClientSession, account: Any, body: dict[str, Any]) -> dict[str, Any]:
    async with rest.post(f"/v1/accounts/{account.address}/send", json=body) as response:
        problem: dict[str, Any] = await response.json()
        assert response.content_type == "application/problem+json"
        assert 400 <= response.status < 500
        return problem


async def inbox(rest: aiohttp.ClientSession, account: Any, mailbox: str = "INBOX") -> list[dict[str, Any]]:
    params = {"mailbox_id": str(account.mailboxes[mailbox].id)}
    async with rest.get(f"/v1/accounts/{account.address}/messages", params=params) as response:
        found: list[dict[str, Any]] = (await response.json())["items"]
        return found


async def shown(rest: aiohttp.ClientSession, account: Any, message: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    path = f"/v1/accounts/{account.address}/messages/{message['id']}"
    async with rest.get(path) as response:
        answer: dict[str, Any] = await response.json()
    async with rest.get(f"{path}/raw") as response:
        return answer, await response.read()


async def queued(rest: aiohttp.ClientSession, transmission_id: str) -> list[str]:
    async with rest.get("/v1/queue", params={"limit": "1000"}) as response:
        items = (await response.json())["items"]
    return sorted(item["recipient"] for item in items if item["transmission_id"] == transmission_id)


async def test_a_message_in_json(rest: aiohttp.ClientSession, account: Any, other_account: Any) -> None:
    remote = f"{uuid4().hex}@elsewhere.test"
    answer = await sent(
        rest,
        account,
        {
            "from": {"name": "Zoë", "address": account.address},
            "to": [{"name": "Other, One", "address": other_account.address}],
            "cc": [remote],
            "bcc": [{"address": account.address}],
            "subject": "Grüße",
            "text": "the text",
            "html": "<p>the <img src='cid:logo@x'></p>",
            "attachments": [
                {"name": "€.pdf", "media_type": "application/pdf", "content": base64.b64encode(b"pdf").decode()},
                {"media_type": "image/png", "content": "AAEC", "content_id": "logo@x"},
            ],
            "headers": [{"name": "X-Campaign", "value": "spring"}],
            "in_reply_to": "0@x",
        },
    )
    assert answer["recipients"] == [other_account.address, remote, account.address]
    assert await queued(rest, answer["transmission_id"]) == [remote]
    (message,) = await inbox(rest, other_account)
    read, raw = await shown(rest, other_account, message)
    assert read["from"] == [{"name": "Zoë", "address": account.address}]
    assert read["to"] == [{"name": "Other, One", "address": other_account.address}]
    assert (read["subject"], read["text"], read["message_id"]) == ("Grüße", "the text", answer["message_id"])
    assert [(part["name"], part["disposition"]) for part in read["parts"]] == [("", "inline"), ("€.pdf", "attachment")]
    assert "/parts/1.2.2" in read["html"]
    assert {"name": "X-Campaign", "value": "spring"} in read["headers"]
    assert b"bcc" not in raw.lower()
    (own,) = await inbox(rest, account, "Sent")
    assert answer["copy_in"] == own["mailbox_id"]
    assert own["flags"] == ["\\Seen"]
    kept, _ = await shown(rest, account, own)
    assert kept["bcc"] == [{"name": "", "address": account.address}]


async def test_a_raw_message(rest: aiohttp.ClientSession, account: Any, other_account: Any) -> None:
    raw = (
        f"From: <{account.address}>\nTo: {other_account.address}\nBcc: {account.address},\n x@elsewhere.test\n"
        "Return-Path: <forged@x>\nSubject: raw\n\n.\nbody"
    ).encode()
    url = f"/v1/accounts/{account.address}/send"
    async with rest.post(url, data=raw, headers=RAW, params={"keep_copy": "false"}) as response:
        assert response.status == 202, await response.text()
        answer = await response.json()
    assert answer["recipients"] == [other_account.address, account.address, "x@elsewhere.test"]
    assert answer["copy_in"] is None
    assert await inbox(rest, account, "Sent") == []
    (message,) = await inbox(rest, other_account)
    read, octets = await shown(rest, other_account, message)
    assert octets.endswith(b"Subject: raw\r\n\r\n.\r\nbody\r\n")
    assert b"bcc" not in octets.lower()
    assert b"forged" not in octets
    assert read["message_id"] == answer["message_id"]
    assert read["sent_at"] is not None
    async with rest.post(url, data=raw, headers=RAW, params={"recipient": other_account.address}) as response:
        assert (await response.json())["recipients"] == [other_account.address]


@pytest.mark.parametrize(
    "raw",
    [
        b"no header\r\n",
        b"From: \r\nTo: a@x.test\r\n\r\n",
        b"From: a@x.test, b@x.test\r\nTo: a@x.test\r\n\r\n",
        b"From: OWN\r\nFrom: other@x.test\r\nTo: a@x.test\r\n\r\n",
        b"From: someone@else.test\r\nTo: a@x.test\r\n\r\n",
        b"From: OWN\r\n\r\n",
        b"From: OWN\r\nTo: no address\r\n\r\n",
        b"From: OWN\r\nTo: a@x.test\r\n\r\n" + b"x" * 999 + b"\r\n",
        b"",
        b"\x00\xff" * 100,
    ],
)
async def test_raw_messages_that_are_refused(rest: aiohttp.ClientSession, account: Any, raw: bytes) -> None:
    raw = raw.replace(b"OWN", account.address.encode())
    async with rest.post(f"/v1/accounts/{account.address}/send", data=raw, headers=RAW) as response:
        assert response.status == 422, await response.text()
    assert await inbox(rest, account, "Sent") == []


async def test_what_is_refused(rest: aiohttp.ClientSession, account: Any, other_account: Any) -> None:
    good: dict[str, Any] = {"to": [other_account.address], "text": "x"}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"to": []}, "invalid-request"),
        ({"unknown": 1}, "invalid-request"),
        ({"to": ["no address"]}, "refused"),
        ({"to": ["a@b.test\r\nBcc: c@d.test"]}, "refused"),
        ({"to": [f"nobody-{uuid4().hex}@example.test"]}, "refused"),
        ({"to": [{"address": other_account.address, "name": "a\nb"}]}, "refused"),
        ({"to": ["a@b.test"] * 1001}, "invalid-request"),
        ({"from": other_account.address}, "refused"),
        ({"from": "someone@elsewhere.test"}, "refused"),
        ({"subject": "a\r\nBcc: x@y.test"}, "refused"),
        ({"headers": [{"name": "Bcc", "value": "x@y.test"}]}, "refused"),
        ({"headers": [{"name": "From", "value": "x@y.test"}]}, "refused"),
        ({"attachments": [{"content": "no base 64!"}]}, "invalid-request"),
        ({"attachments": [{"content": "AAEC", "media_type": "multipart/mixed"}]}, "refused"),
        ({"in_reply_to": "a>\r\n"}, "refused"),
    ]
    for change, kind in cases:
        problem = await refused(rest, account, good | change)
        assert problem["type"] == f"/problems/{kind}", (change, problem)
    url = f"/v1/accounts/{account.address}/send"
    for data, headers, status in (
        (b"{", {"Content-Type": "application/json"}, 400),
        (b'{"to": "\\ud800"}', {"Content-Type": "application/json"}, 400),
        (b"x", {"Content-Type": "text/plain"}, 415),
    ):
        async with rest.post(url, data=data, headers=headers) as response:
            assert response.status == status, await response.text()
    async with rest.post(url, json=good, params={"recipient": "a@b.test"}) as response:
        assert response.status == 422
    assert await inbox(rest, other_account) == []
    assert await inbox(rest, account, "Sent") == []


async def test_aliases_may_be_written_from(rest: aiohttp.ClientSession, account: Any, other_account: Any) -> None:
    alias = f"alias-{uuid4().hex[:8]}@example.test"
    async with rest.post("/v1/aliases", json={"address": alias, "members": [account.address]}) as response:
        assert response.status == 201, await response.text()
    await sent(rest, account, {"from": alias, "to": [other_account.address], "text": "x"})
    (message,) = await inbox(rest, other_account)
    assert message["from"] == [{"name": "", "address": alias}]
    assert (await refused(rest, other_account, {"from": alias, "to": [account.address]}))["status"] == 422


async def test_the_same_key_sends_once(rest: aiohttp.ClientSession, account: Any, other_account: Any) -> None:
    body = {"to": [other_account.address], "text": "once"}
    k1, k2 = uuid4().hex, uuid4().hex
    first = await sent(rest, account, body, **{"Idempotency-Key": k1})
    again = await sent(rest, account, body, **{"Idempotency-Key": k1})
    other = await sent(rest, account, body, **{"Idempotency-Key": k2})
    assert first == again
    url = f"/v1/accounts/{account.address}/send"
    async with rest.post(url, json=body | {"text": "other"}, headers={"Idempotency-Key": k1}) as response:
        assert (await response.json())["type"] == "/problems/idempotency-key-reused"
    assert other["transmission_id"] != first["transmission_id"]
    assert len(await inbox(rest, other_account)) == 2
    assert len(await inbox(rest, account, "Sent")) == 2


async def test_large_attachments_pass_and_too_large_ones_do_not(
    rest: aiohttp.ClientSession, postroom: RunningPostroom, account: Any, other_account: Any
) -> None:
    octets = bytes(range(256)) * 2_500
    attachment = {"name": "big", "content": base64.b64encode(octets).decode()}
    await sent(rest, account, {"to": [other_account.address], "attachments": [attachment]})
    (message,) = await inbox(rest, other_account)
    async with rest.get(f"/v1/accounts/{other_account.address}/messages/{message['id']}/parts/2") as response:
        assert await response.read() == octets
    reader, writer = await asyncio.open_connection("127.0.0.1", postroom.ports["api"])
    request = f"POST /v1/accounts/{account.address}/send HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n"
    writer.write(request.encode())
    assert (await reader.readline()).split()[1] == b"413"
    writer.close()
    await writer.wait_closed()
