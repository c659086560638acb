"""What the replicas of smtp-in know together: the greylist, allowances, and mail for Junk."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import Refused
from mail_runtime.contracts.store.screening import Spend, Stranger, Told
from mail_runtime.store_client import StoreClient
from mail_testkit.clients import TIMEOUT_S
from store_api.db.engine import Database, run
from store_api.screening import allowances, greylist

MESSAGE = b"Subject: win\r\n\r\nbody\r\n"
# Of the time that is counted, on a busy machine.
MAY_TAKE_S = 60


def stranger(network: str, recipient: str = "b@example.test", delay_s: float = 300.0) -> Stranger:
    return Stranger(network=network, reverse_path="a@remote.test", recipient=recipient, delay_s=delay_s)


async def later(database: Database, network: str, seconds: float) -> None:
    """As if so much time had passed for that network."""
    async with database.transaction() as connection:
        await run(
            connection,
            "UPDATE greylist SET first_at = first_at - make_interval(secs => :s), last_at = last_at"
            " - make_interval(secs => :s) WHERE network = :network",
            s=seconds,
            network=network,
        )


async def test_strangers_come_again(store: StoreClient, database: Database) -> None:
    network = uuid4().hex
    assert 300 - MAY_TAKE_S < await store.greylist(stranger(network)) <= 300
    await later(database, network, 100)
    assert 200 - MAY_TAKE_S < await store.greylist(stranger(network)) <= 200
    await later(database, network, 201)
    assert await store.greylist(stranger(network)) == 0
    await later(database, network, 3 * 86_400)
    assert await store.greylist(stranger(network)) == 0
    assert await store.greylist(stranger(network, "c@example.test")) > 0
    assert await store.greylist(stranger(uuid4().hex)) > 0


async def test_who_comes_back_too_late_begins_anew(store: StoreClient, database: Database) -> None:
    network = uuid4().hex
    await store.greylist(stranger(network))
    await later(database, network, greylist.RETRY_WITHIN_S + 1)
    assert await store.greylist(stranger(network)) > 300 - MAY_TAKE_S


async def test_a_network_gets_known(store: StoreClient, database: Database) -> None:
    network = uuid4().hex
    for n in range(greylist.NETWORK_KNOWN_AT):
        await store.greylist(stranger(network, f"{n}@example.test"))
    await later(database, network, 301)
    for n in range(greylist.NETWORK_KNOWN_AT):
        assert await store.greylist(stranger(network, f"{n}@example.test")) == 0
    assert await store.greylist(stranger(network, "new@example.test")) == 0


async def test_old_strangers_are_forgotten(store: StoreClient, database: Database) -> None:
    networks = [uuid4().hex for _ in range(3)]
    for network in networks:
        await store.greylist(stranger(network))
    await later(database, networks[0], greylist.RETRY_WITHIN_S + 1)
    await later(database, networks[1], 301)
    await store.greylist(stranger(networks[1]))
    await later(database, networks[1], greylist.RETRY_WITHIN_S + 1)
    async with database.transaction() as connection:
        await greylist.forget_old(connection)
        sql = "SELECT network FROM greylist WHERE network = ANY (CAST(:networks AS text[])) ORDER BY first_at"
        assert (await run(connection, sql, networks=networks)).scalars().all() == networks[1:]


async def test_allowances_hold_for_all(store: StoreClient, database: Database) -> None:
    wanted = Spend(name=uuid4().hex, cost=1, allowed=10, window_s=3600)
    assert sorted(await asyncio.gather(*(store.spend(wanted) for _ in range(14)))) == [False] * 4 + [True] * 10
    assert not await store.spend(Spend(name=uuid4().hex, cost=11, allowed=10, window_s=3600))
    async with database.transaction() as connection:
        sql = "UPDATE allowance SET at = at - make_interval(secs => 370) WHERE name = :name"
        await run(connection, sql, name=wanted.name)
    assert [await store.spend(wanted), await store.spend(wanted)] == [True, False]
    async with database.transaction() as connection:
        await allowances.forget_old(connection)
        sql = "SELECT count(*) FROM allowance WHERE name = :name"
        assert (await run(connection, sql, name=wanted.name)).scalar_one() == 1


async def test_junk_goes_to_junk(store: StoreClient, account: Any, rest: aiohttp.ClientSession) -> None:
    await deliver(store, account, junk=True)
    assert (await store.changes(account.id, account.inbox.id)).uids == []
    junk = account.mailboxes["Junk"]
    assert (await store.changes(account.id, junk.id)).uids == [1]
    await store.delete_mailbox(account.id, junk.id)
    await deliver(store, account, junk=True)
    await deliver(store, account, junk=False)
    assert (await store.changes(account.id, account.inbox.id)).uids == [1, 2]


async def deliver(store: StoreClient, account: Any, *, junk: bool) -> None:
    sent = wire.Transmission(id=uuid4(), reverse_path="a@remote.test", recipients=[account.address], junk=junk)
    await store.accept(sent, MESSAGE)


async def test_frontends_tell_of_dmarc(store: StoreClient, rest: aiohttp.ClientSession) -> None:
    marker = uuid4().hex
    with pytest.raises(Refused):
        await store.tell([Told(type="message.stored", content={})])
    async with rest.get("/v1/events", params={"type": "dmarc.failed"}) as stream:
        await store.tell([Told(type="dmarc.failed", content={"source_ip": marker})])
        async with asyncio.timeout(TIMEOUT_S):
            async for line in stream.content:
                if marker.encode() in line:
                    return
    raise AssertionError("the event never came")
