"""What is remembered of recipients, and when it is forgotten."""

from __future__ import annotations

import asyncio

import pytest

from mail_runtime.bus import Bus
from mail_runtime.store_client import StoreClient
from mail_testkit.clients import Rest
from mail_testkit.running import RunningPostroom
from smtp_in import recipients
from smtp_in.directory import watch_directory
from smtp_in.recipients import Recipients


async def test_it_is_forgotten_when_the_directory_changes(
    postroom: RunningPostroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipients, "TTL_S", 3600.0)
    rest = Rest(postroom)
    user = await asyncio.to_thread(rest.make_user)
    async with StoreClient(postroom.api_url, postroom.service_token) as store, Bus(postroom.nats_url, "test") as bus:
        remembered = Recipients(store)
        watch_directory(bus, remembered)
        await bus.wait_connected()
        assert await remembered.status(user.address) == "local"
        disabled = {"state": "disabled"}
        status, _ = await asyncio.to_thread(rest.call, "PATCH", f"/v1/accounts/{user.address}", disabled)
        assert status == 200
        async with asyncio.timeout(60):
            while await remembered.status(user.address) != "disabled":
                await asyncio.sleep(0.01)


async def test_only_what_holds_for_everybody_is_remembered(
    postroom: RunningPostroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipients, "TTL_S", 3600.0)
    rest = Rest(postroom)
    user = await asyncio.to_thread(rest.make_user)
    address = f"list-{user.address}"
    new = {"address": address, "kind": "list", "who_may_post": "members", "members": [user.address]}
    status, _ = await asyncio.to_thread(rest.call, "POST", "/v1/aliases", new)
    assert status == 201
    async with StoreClient(postroom.api_url, postroom.service_token) as store:
        remembered = Recipients(store)
        assert await remembered.status(address, user.address) == "local"
        assert await remembered.status(address, "a@elsewhere.test") == "not_permitted"
        assert await remembered.status(f"new-{user.address}") == "unknown"
        made = {"address": f"new-{user.address}", "password": user.password}
        assert (await asyncio.to_thread(rest.call, "POST", "/v1/accounts", made))[0] == 201
        assert await remembered.status(f"new-{user.address}") == "local"
