"""App passwords and changes of the password."""

from __future__ import annotations

import asyncio
import secrets
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import aiohttp
import msgspec
import nats
import pytest

from mail_runtime.bus import Msg
from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import AuthenticationFailed
from mail_runtime.contracts.subjects import AccountChanged, account_subject
from mail_runtime.store_client import StoreClient
from mail_testkit.running import RunningPostroom
from mail_testkit.scram import client_proof
from store_api.accounts.issuers import Issuers
from store_api.accounts.logins import Logins
from store_api.accounts.passwords import Passwords
from store_api.db.engine import Database, run

PASSWORD, OTHER = "correct horse", "battery staple"


def _peer() -> str:
    return f"2001:db8:{secrets.randbelow(65536):x}:{secrets.randbelow(65536):x}::1"


async def _login(store: StoreClient, login: str, password: str, protocol: wire.Protocol = "imap") -> wire.Principal:
    return await store.authenticate(
        wire.Credentials(username=login, password=password, protocol=protocol, peer=_peer())
    )


async def _prove(store: StoreClient, login: str, password: str, protocol: wire.Protocol = "imap") -> None:
    challenge = await store.scram_start(wire.ScramStart(username=login))
    proof = client_proof(password, challenge.salt, challenge.iterations, b"message")
    await store.scram_finish(
        wire.ScramFinish(username=login, auth_message=b"message", proof=proof, protocol=protocol, peer=_peer())
    )


async def _create(rest: aiohttp.ClientSession, account: Any, **body: Any) -> dict[str, Any]:
    async with rest.post(f"/v1/accounts/{account.address}/app-passwords", json={"name": "phone", **body}) as response:
        assert response.status == 201, await response.text()
        created: dict[str, Any] = await response.json()
        return created


async def _put_password(rest: aiohttp.ClientSession, account: Any, headers: Any = None, **body: str) -> int:
    path = f"/v1/accounts/{account.address}/password"
    async with rest.put(path, json=body, headers={"X-Forwarded-For": _peer(), **(headers or {})}) as response:
        return response.status


@pytest.fixture
async def told(postroom: RunningPostroom, account: Any) -> AsyncIterator[asyncio.Queue[str]]:
    """What frontends are told of the account."""
    queue: asyncio.Queue[str] = asyncio.Queue()

    async def receive(message: Msg) -> None:
        queue.put_nowait(msgspec.msgpack.decode(message.data, type=AccountChanged).what)

    client = await nats.connect(postroom.nats_url)
    await client.subscribe(account_subject(account.id), cb=receive)
    await client.flush()
    yield queue
    await client.close()


async def test_an_app_password_opens_its_services_only(
    rest: aiohttp.ClientSession, store: StoreClient, account: Any
) -> None:
    created = await _create(rest, account, scopes=["imap", "smtp", "imap"])
    assert created["scopes"] == ["imap", "smtp"]
    password = created["password"]
    assert len(password) >= 20
    for protocol in ("imap", "smtp"):
        assert (await _login(store, account.address, password, protocol)).account_id == account.id
        await _prove(store, account.address, password, protocol)
    for attempt in (_login, _prove):
        with pytest.raises(AuthenticationFailed):
            await attempt(store, account.address, password, "pop3")
        await attempt(store, account.address, PASSWORD, "pop3")
    basic = b64encode(f"{account.address}:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {basic}", "X-Forwarded-For": _peer()}
    async with rest.get(f"/v1/accounts/{account.address}/mailboxes", headers=headers) as response:
        assert response.status == 401


async def test_the_list_and_revoking(
    rest: aiohttp.ClientSession, store: StoreClient, account: Any, other_account: Any, told: asyncio.Queue[str]
) -> None:
    kept, revoked = [await _create(rest, account, scopes=["imap"]) for _ in range(2)]
    await _login(store, account.address, kept["password"])
    path = f"/v1/accounts/{account.address}/app-passwords"
    async with rest.get(path) as response:
        items = (await response.json())["items"]
    assert [item["id"] for item in items] == [kept["id"], revoked["id"]]
    assert (items[0]["last_used_at"] is None, items[1]["last_used_at"]) == (False, None)
    assert not [item for item in items if "password" in item]
    foreign = f"/v1/accounts/{other_account.address}/app-passwords/{revoked['id']}"
    for at, expected in [(foreign, 404), (f"{path}/{revoked['id']}", 204), (f"{path}/{revoked['id']}", 404)]:
        async with rest.delete(at) as response:
            assert response.status == expected
    assert await told.get() == "password"
    with pytest.raises(AuthenticationFailed):
        await _login(store, account.address, revoked["password"])
    with pytest.raises(AuthenticationFailed):
        await _prove(store, account.address, revoked["password"])
    await _login(store, account.address, kept["password"])


async def test_a_changed_password_counts_at_once_on_all_replicas(
    postroom: RunningPostroom,
    rest: aiohttp.ClientSession,
    store: StoreClient,
    account: Any,
    database: Database,
    told: asyncio.Queue[str],
) -> None:
    passwords = Passwords(postroom.service_token)
    replica = Logins(database, passwords, Issuers([], ""))
    await replica.authenticate(account.address, PASSWORD, "imap", _peer())
    await _login(store, account.address, PASSWORD)
    app = await _create(rest, account, scopes=["imap"])
    assert await _put_password(rest, account, password=OTHER) == 204
    assert await told.get() == "password"
    for attempt in (_login(store, account.address, PASSWORD), _prove(store, account.address, PASSWORD)):
        with pytest.raises(AuthenticationFailed):
            await attempt
    with pytest.raises(AuthenticationFailed):
        await replica.authenticate(account.address, PASSWORD, "imap", _peer())
    await replica.authenticate(account.address, OTHER, "imap", _peer())
    await _prove(store, account.address, OTHER)
    await _prove(store, account.address, app["password"])  # the salt is the same
    passwords.close()


async def test_an_account_says_its_present_password_to_change_it(
    rest: aiohttp.ClientSession, store: StoreClient, account: Any
) -> None:
    app = await _create(rest, account, scopes=["api"])
    for password in (PASSWORD, app["password"]):
        basic = b64encode(f"{account.address}:{password}".encode()).decode()
        headers = {"Authorization": f"Basic {basic}"}
        assert await _put_password(rest, account, headers, password=OTHER) == 403
        assert await _put_password(rest, account, headers, password=OTHER, current_password="wrong") == 422
        assert await _put_password(rest, account, headers, password=OTHER, current_password=app["password"]) == 422
        assert await _put_password(rest, account, headers, password="short", current_password=PASSWORD) == 422
    assert await _put_password(rest, account, headers, password=OTHER, current_password=PASSWORD) == 204
    await _login(store, account.address, OTHER)


async def test_changes_are_in_the_audit_log_without_secrets(
    rest: aiohttp.ClientSession, account: Any, database: Database
) -> None:
    app = await _create(rest, account, scopes=["imap"], name="tablet")
    await _put_password(rest, account, password=OTHER)
    async with database.transaction() as connection:
        rows = (
            await run(
                connection,
                "SELECT actor, action, CAST(a AS text) AS text FROM audit a WHERE object = :address ORDER BY id",
                address=account.address,
            )
        ).all()
    actions = [row.action for row in rows]
    assert actions[-2:] == ["app_password.create", "account.change_password"]
    assert "tablet" in rows[-2].text
    assert not [row for row in rows if OTHER in row.text or app["password"] in row.text]


@pytest.mark.parametrize("body", [{"scopes": []}, {"scopes": ["ftp"]}, {"scopes": ["imap"], "name": ""}, {}])
async def test_bodies_that_are_refused(rest: aiohttp.ClientSession, account: Any, body: dict[str, Any]) -> None:
    path = f"/v1/accounts/{account.address}/app-passwords"
    async with rest.post(path, json={"name": "phone", **body}) as response:
        assert response.status == 422


async def test_a_repeated_creation_shows_the_same_password(rest: aiohttp.ClientSession, account: Any) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    path, body = f"/v1/accounts/{account.address}/app-passwords", {"name": "phone", "scopes": ["imap"]}
    answers = []
    for _ in range(2):
        async with rest.post(path, json=body, headers=key) as response:
            answers.append(await response.json())
    assert answers[0] == answers[1]
