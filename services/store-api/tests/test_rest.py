"""The public REST API."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from mail_runtime.contracts import store as wire
from mail_runtime.store_client import StoreClient
from mail_testkit.running import RunningPostroom

MESSAGE = b"From: Z\xc3\xbc <a@remote.test>\r\nSubject: =?utf-8?q?h=C3=A9?=\r\n\r\nthe text\r\n"


async def test_without_the_token_nothing(rest: aiohttp.ClientSession) -> None:
    for path in ("/v1/domains", "/v1/queue", "/internal/ready"):
        async with rest.get(path, headers={"Authorization": "Bearer wrong"}) as response:
            assert response.status == 401
            assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_the_admin_token_does_not_open_the_internal_face(rest: aiohttp.ClientSession) -> None:
    async with rest.get("/internal/ready") as response:
        assert response.status == 401


async def test_errors_are_problem_json(rest: aiohttp.ClientSession, account: Any) -> None:
    cases = [
        (rest.get("/v1/accounts/nobody@example.test"), 404),
        (rest.get("/v1/accounts/nul%00@example.test"), 422),
        (rest.post("/v1/domains", json={"name": "not a domain"}), 422),
        (rest.post("/v1/domains", json={"name": "example.test"}), 409),
        (rest.post("/v1/domains", data=b"{", headers={"Content-Type": "application/json"}), 400),
        (rest.post("/v1/accounts", json={"address": account.address, "password": "long enough"}), 409),
        (rest.post("/v1/accounts", json={"address": f"{uuid4().hex}@example.test", "password": "short"}), 422),
        (rest.post("/v1/accounts", json={"address": "a@unknown.test", "password": "long enough"}), 422),
        (rest.get(f"/v1/accounts/{account.address}/messages/{uuid4()}"), 404),
        (rest.get("/v1/queue?limit=0"), 422),
        (rest.get("/nowhere"), 404),
    ]
    for call, status in cases:
        async with call as response:
            problem = await response.json()
            assert (response.status, response.content_type) == (status, "application/problem+json"), problem
            assert problem["status"] == status
            assert problem["detail"]


@pytest.mark.parametrize(
    ("header", "status"), [(b"Content-Length: 1048577", 413), (b"Transfer-Encoding: chunked", 411)]
)
async def test_large_bodies_are_refused_before_they_are_read(
    postroom: RunningPostroom, header: bytes, status: int
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", postroom.ports["api"])
    writer.write(b"POST /v1/domains HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n")
    assert (await reader.readline()).split()[1] == b"%d" % status
    writer.close()
    await writer.wait_closed()


async def test_reading_mail(rest: aiohttp.ClientSession, store: StoreClient, account: Any) -> None:
    for _ in range(3):
        await store.append(account.id, account.inbox.id, wire.AppendHeader(flags=["\\Seen"]), MESSAGE)
    base = f"/v1/accounts/{account.address}"
    async with rest.get(f"{base}/mailboxes") as response:
        inbox = (await response.json())["items"][0]
    assert (inbox["name"], inbox["messages"], inbox["unseen"]) == ("INBOX", 3, 0)
    uids: list[int] = []
    cursor: str | None = None
    while True:
        params = {"limit": "2"} if cursor is None else {"limit": "2", "cursor": cursor}
        async with rest.get(f"{base}/mailboxes/{inbox['id']}/messages", params=params) as response:
            page = await response.json()
        uids += [item["uid"] for item in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert uids == [3, 2, 1]
    first = page["items"][0]
    sender = {"name": "Zü", "address": "a@remote.test"}
    assert (first["subject"], first["from"], first["flags"]) == ("hé", [sender], ["\\Seen"])
    async with rest.get(f"{base}/messages/{first['id']}/raw") as response:
        assert response.content_type == "message/rfc822"
        assert await response.read() == MESSAGE
    async with rest.get(f"{base}/messages/{first['id']}") as response:
        assert (await response.json())["text"].strip() == "the text"


async def test_the_openapi_page_describes_every_public_route(rest: aiohttp.ClientSession) -> None:
    async with rest.get("/openapi.json") as response:
        paths = (await response.json())["paths"]
    assert "/v1/accounts/{address}/messages/{message_id}/raw" in paths
    assert not [path for path in paths if path.startswith("/internal")]
    async with rest.get("/docs") as response:
        assert response.status == 200


async def test_cursors_are_signed(rest: aiohttp.ClientSession, account: Any, other_account: Any) -> None:
    async with rest.get("/v1/accounts?limit=1") as response:
        page = await response.json()
    cursor = page["next_cursor"]
    async with rest.get("/v1/accounts", params={"limit": 1, "cursor": cursor}) as response:
        assert (await response.json())["items"][0]["address"] > page["items"][0]["address"]
    forged = ["", "x", "é", cursor[:-2], "A" + cursor[1:], cursor + "AAAA", cursor[::-1]]
    for path, tried in [*(("/v1/accounts", each) for each in forged), ("/v1/queue", cursor)]:
        async with rest.get(path, params={"limit": 1, "cursor": tried}) as response:
            assert response.status == 400, tried
            assert (await response.json())["type"] == "/problems/invalid-cursor"


async def test_what_is_not_documented_is_refused(rest: aiohttp.ClientSession) -> None:
    async with rest.get("/v1/domains?limt=5") as response:
        assert (response.status, (await response.json())["type"]) == (422, "/problems/invalid-request")
    async with rest.post("/v1/domains", json={"name": "unknown-field.test", "nme": 1}) as response:
        problem = await response.json()
        assert (response.status, problem["type"]) == (422, "/problems/invalid-request")
        assert problem["errors"][0]["location"] == "body.nme"
    async with rest.get("/problems/invalid-request") as response:
        assert (await response.json())["status"] == 422
