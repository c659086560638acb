"""Idempotency-Key on POST."""

from __future__ import annotations

import asyncio
from io import BytesIO
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from mail_testkit.running import RunningPostroom
from store_api.db.engine import Database, run

Answer = tuple[int, Any, Any]


async def _post(
    session: aiohttp.ClientSession, key: str, body: Any, path: str = "/v1/domains", **headers: str
) -> Answer:
    async with session.post(path, json=body, headers={"Idempotency-Key": key, **headers}) as response:
        return response.status, await response.json(), response.headers


def _domain() -> dict[str, str]:
    return {"name": f"{uuid4().hex}.test"}


async def test_a_repeated_request_gets_the_same_answer(rest: aiohttp.ClientSession) -> None:
    key, body = uuid4().hex, _domain()
    status, first, headers = await _post(rest, key, body)
    assert (status, "Idempotency-Replayed" in headers) == (201, False)
    status, again, replayed = await _post(rest, key, body)
    assert (status, again, replayed["Idempotency-Replayed"]) == (201, first, "true")
    for name in ("Content-Type", "ETag", "Location"):
        assert replayed.get(name) == headers.get(name)
    assert (await _post(rest, uuid4().hex, body))[0] == 409  # without it, it exists already


async def test_a_key_belongs_to_one_request_and_one_caller(rest: aiohttp.ClientSession) -> None:
    key, body = uuid4().hex, _domain()
    assert (await _post(rest, key, body))[0] == 201
    for other, path in [(_domain(), "/v1/domains"), (body, "/v1/tokens")]:
        status, problem, _ = await _post(rest, key, other, path)
        assert (status, problem["type"]) == (422, "/problems/idempotency-key-reused")
    _, token, _ = await _post(rest, uuid4().hex, {"name": "t", "scope": "admin"}, "/v1/tokens")
    bearer = {"Authorization": f"Bearer {token['secret']}"}
    assert (await _post(rest, key, _domain(), **bearer))[0] == 201
    assert (await _post(rest, key, body, Authorization="Bearer wrong"))[0] == 401


async def test_a_secret_is_shown_again_but_kept_encrypted(rest: aiohttp.ClientSession, database: Database) -> None:
    key, body = uuid4().hex, {"name": "t", "scope": "admin"}
    _, first, _ = await _post(rest, key, body, "/v1/tokens")
    _, again, _ = await _post(rest, key, body, "/v1/tokens")
    assert first["secret"] == again["secret"]
    async with database.transaction() as connection:
        row = (await run(connection, "SELECT body, headers FROM idempotency_key WHERE key = :key", key=key)).one()
    assert first["secret"].encode() not in row.body
    assert first["id"].encode() not in row.body


async def test_what_was_refused_may_be_tried_again(rest: aiohttp.ClientSession) -> None:
    key, domain = uuid4().hex, _domain()
    body = {"address": f"a@{domain['name']}", "password": "long enough"}
    assert (await _post(rest, key, body, "/v1/accounts"))[0] == 422
    assert (await _post(rest, uuid4().hex, domain))[0] == 201
    assert (await _post(rest, key, body, "/v1/accounts"))[0] == 201


async def test_large_bodies_are_compared_too(rest: aiohttp.ClientSession, account: Any) -> None:
    path, key = f"/v1/accounts/{account.address}/mailboxes/{account.inbox.id}/messages", uuid4().hex
    message = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 100_000
    headers = {"Idempotency-Key": key, "Content-Type": "message/rfc822"}
    answers = []
    for octets in (message, message, message[:-3] + b"g\r\n"):
        async with rest.post(path, data=BytesIO(octets), headers=headers) as response:
            answers.append((response.status, await response.json()))
    assert answers[0] == answers[1]
    assert (answers[0][0], answers[2][0]) == (201, 422)
    async with rest.get(f"/v1/accounts/{account.address}/mailboxes") as response:
        inbox = (await response.json())["items"][0]
    assert (inbox["messages"], inbox["octets"]) == (1, len(message))


async def test_at_the_same_moment_it_is_done_once(rest: aiohttp.ClientSession) -> None:
    key, body = uuid4().hex, {"name": uuid4().hex, "scope": "admin"}
    answers = await asyncio.gather(*(_post(rest, key, body, "/v1/tokens") for _ in range(10)))
    assert {status for status, _, _ in answers} <= {201, 409}
    assert {problem["type"] for status, problem, _ in answers if status == 409} <= {"/problems/request-under-way"}
    assert len({token["id"] for status, token, _ in answers if status == 201}) == 1


@pytest.fixture
async def held(rest: aiohttp.ClientSession, database: Database) -> tuple[str, dict[str, str]]:
    """A key whose request is being worked on by a store that has died."""
    key, body = uuid4().hex, {"name": uuid4().hex, "scope": "admin"}
    await _post(rest, key, body, "/v1/tokens")
    async with database.transaction() as connection:
        await run(connection, "UPDATE idempotency_key SET status = NULL WHERE key = :key", key=key)
    return key, body


async def test_a_store_that_died_is_waited_for_and_then_replaced(
    rest: aiohttp.ClientSession, database: Database, held: tuple[str, dict[str, str]]
) -> None:
    key, body = held
    status, problem, headers = await _post(rest, key, body, "/v1/tokens")
    assert (status, problem["type"], headers["Retry-After"]) == (409, "/problems/request-under-way", "1")
    async with database.transaction() as connection:
        await run(connection, "UPDATE idempotency_key SET held_until = now() WHERE key = :key", key=key)
    assert (await _post(rest, key, body, "/v1/tokens"))[0] == 201


@pytest.mark.parametrize("key", ["", "x" * 256, "\u00e9"])
async def test_keys_that_are_none(rest: aiohttp.ClientSession, key: str) -> None:
    assert (await _post(rest, key, _domain()))[0] == 422


async def test_the_header_is_documented(postroom: RunningPostroom) -> None:
    async with aiohttp.ClientSession(postroom.api_url) as session, session.get("/openapi.json") as response:
        paths = (await response.json())["paths"]
    names = {parameter["name"].lower() for parameter in paths["/v1/domains"]["post"]["parameters"]}
    assert "idempotency-key" in names
    assert "/problems/idempotency-key-reused" in str(paths["/v1/domains"]["post"]["responses"]["422"])
