"""HTTP Basic: an account's own data with its own password."""

from __future__ import annotations

import secrets
from base64 import b64encode
from typing import Any

import aiohttp

PASSWORD = "correct horse"


def _basic(name: str, password: str) -> dict[str, str]:
    value = b64encode(f"{name}:{password}".encode()).decode()
    peer = f"203.0.{secrets.randbelow(256)}.{secrets.randbelow(256)}"
    return {"Authorization": f"Basic {value}", "X-Forwarded-For": peer}


async def _status(rest: aiohttp.ClientSession, path: str, headers: dict[str, str]) -> int:
    async with rest.get(path, headers=headers) as response:
        return response.status


async def test_an_account_reads_its_own_data_only(
    rest: aiohttp.ClientSession, account: Any, other_account: Any
) -> None:
    headers = _basic(account.address, PASSWORD)
    assert await _status(rest, f"/v1/accounts/{account.address}/mailboxes", headers) == 200
    assert await _status(rest, f"/v1/accounts/{other_account.address}/mailboxes", headers) == 404
    assert await _status(rest, "/v1/queue", headers) == 403


async def test_wrong_credentials(rest: aiohttp.ClientSession, account: Any) -> None:
    path = f"/v1/accounts/{account.address}/mailboxes"
    wrong = [
        _basic(account.address, "wrong"),
        _basic("nobody@example.test", PASSWORD),
        {**_basic("", ""), "Authorization": "Basic"},
        {**_basic("", ""), "Authorization": "Basic !"},
        {**_basic("", ""), "Authorization": "Basic " + b64encode(b"no colon").decode()},
        {**_basic("", ""), "Authorization": "Basic " + b64encode(b"\xff:\xff").decode()},
    ]
    for headers in wrong:
        async with rest.get(path, headers=headers) as response:
            assert response.status == 401
            assert response.headers["WWW-Authenticate"].startswith("Basic realm=")
            assert response.content_type == "application/problem+json"
    assert await _status(rest, path, {"Authorization": "Digest x"}) == 401


async def test_guessing_is_told_when_to_come_back(rest: aiohttp.ClientSession, account: Any) -> None:
    headers = _basic(account.address, "wrong")
    path = f"/v1/accounts/{account.address}/mailboxes"
    while (status := await _status(rest, path, headers)) == 401:
        pass
    assert status == 429
    async with rest.get(path, headers=headers) as response:
        assert (response.status, (await response.json())["type"]) == (429, "/problems/rate-limited")
        assert int(response.headers["Retry-After"]) >= 1
