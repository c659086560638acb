"""API tokens: what each scope may do."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import aiohttp

from store_api.db.engine import Database, run


async def _create(rest: aiohttp.ClientSession, by: str | None = None, **body: Any) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {by}"} if by else {}
    async with rest.post("/v1/tokens", json={"name": "t", **body}, headers=headers) as response:
        return response.status, await response.json()


async def _status(rest: aiohttp.ClientSession, token: str, method: str, path: str) -> int:
    async with rest.request(method, path, headers={"Authorization": f"Bearer {token}"}) as response:
        return response.status


async def _domain(rest: aiohttp.ClientSession) -> tuple[str, str]:
    """A new domain with one account."""
    domain = f"{uuid4().hex[:12]}.test"
    async with rest.post("/v1/domains", json={"name": domain}) as response:
        assert response.status == 201
    address = f"one@{domain}"
    async with rest.post("/v1/accounts", json={"address": address, "password": "long enough"}) as response:
        assert response.status == 201
    return domain, address


async def test_an_account_token_reaches_its_own_data_only(rest: aiohttp.ClientSession, account: Any) -> None:
    _, other = await _domain(rest)
    status, token = await _create(rest, scope="account", account=account.address)
    assert (status, token["account"], token["scope"]) == (201, account.address, "account")
    secret = token["secret"]
    assert await _status(rest, secret, "GET", f"/v1/accounts/{account.address}/mailboxes") == 200
    assert await _status(rest, secret, "GET", f"/v1/accounts/{other}/mailboxes") == 404
    assert await _status(rest, secret, "GET", "/v1/queue") == 403


async def test_nobody_makes_a_token_stronger_than_its_own(rest: aiohttp.ClientSession, account: Any) -> None:
    domain, address = await _domain(rest)
    _, of_domain = await _create(rest, scope="domain", domain=domain)
    _, of_account = await _create(rest, by=of_domain["secret"], scope="account", account=address)
    for by, body, expected in [
        (of_domain, {"scope": "admin"}, 403),
        (of_domain, {"scope": "domain", "domain": "example.test"}, 404),
        (of_domain, {"scope": "domain", "domain": domain}, 201),
        (of_domain, {"scope": "account", "account": account.address}, 404),
        (of_account, {"scope": "domain", "domain": domain}, 403),
        (of_account, {"scope": "account", "account": account.address}, 404),
        (of_account, {"scope": "account"}, 201),
    ]:
        status, answer = await _create(rest, by=by["secret"], **body)
        assert status == expected, answer


async def test_a_body_that_does_not_fit_the_scope(rest: aiohttp.ClientSession) -> None:
    for body in (
        {"scope": "account"},
        {"scope": "domain"},
        {"scope": "admin", "domain": "example.test"},
        {"scope": "domain", "domain": "example.test", "account": "alice@example.test"},
    ):
        assert (await _create(rest, **body))[0] == 422


async def test_tokens_are_listed_without_secrets_and_revoked_at_once(rest: aiohttp.ClientSession) -> None:
    domain, address = await _domain(rest)
    _, of_domain = await _create(rest, scope="domain", domain=domain)
    _, of_account = await _create(rest, scope="account", account=address)
    _, foreign = await _create(rest, scope="domain", domain="example.test")
    headers = {"Authorization": f"Bearer {of_domain['secret']}"}
    async with rest.get("/v1/tokens", headers=headers) as response:
        listed = (await response.json())["items"]
    assert [item["id"] for item in listed] == [of_domain["id"], of_account["id"]]
    assert not [item for item in listed if "secret" in item]
    assert listed[0]["last_used_at"] is not None
    path = f"/v1/tokens/{of_account['id']}"
    assert await _status(rest, of_domain["secret"], "DELETE", f"/v1/tokens/{foreign['id']}") == 404
    assert await _status(rest, of_domain["secret"], "DELETE", path) == 204
    assert await _status(rest, of_account["secret"], "GET", "/v1/tokens") == 401
    assert await _status(rest, of_domain["secret"], "DELETE", path) == 404


async def test_an_expired_token_is_refused(rest: aiohttp.ClientSession) -> None:
    _, token = await _create(rest, scope="admin", expires_at="2020-01-01T00:00:00Z")
    assert await _status(rest, token["secret"], "GET", "/v1/domains") == 401


async def test_the_secret_is_kept_nowhere(rest: aiohttp.ClientSession, database: Database) -> None:
    _, token = await _create(rest, scope="admin")
    async with database.transaction() as connection:
        rows = (await run(connection, "SELECT CAST(t AS text), encode(hash, 'escape') FROM api_token t")).all()
        audited = (await run(connection, "SELECT CAST(a AS text) FROM audit a")).scalars().all()
    assert [row for row in audited if token["id"] in row]
    assert not [text for text in [*audited, *map(str, rows)] if token["secret"] in text]
    assert await _status(rest, token["secret"], "GET", "/v1/domains") == 200
    assert await _status(rest, token["secret"][:-1] + "~", "GET", "/v1/domains") == 401
