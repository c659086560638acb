"""A real store for these tests, and an account for each of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from uuid import UUID, uuid4

import aiohttp
import pytest
from sqlalchemy import text

from mail_runtime.contracts import store as wire
from mail_runtime.store_client import StoreClient
from mail_testkit.running import RunningPostroom
from store_api.db.engine import Database
from store_api.db.migrate import migrate

DOMAIN = "example.test"
PASSWORD = "correct horse"
MESSAGE = b"From: a@remote.test\r\nTo: b@example.test\r\nSubject: =?utf-8?q?h=C3=A9?=\r\n\r\nbody\r\n"


@dataclass(frozen=True, slots=True)
class Account:
    """An account of one test, with its mailboxes as they were at first."""

    id: UUID
    address: str
    mailboxes: dict[str, wire.Mailbox]

    @property
    def inbox(self) -> wire.Mailbox:
        return self.mailboxes["INBOX"]


@pytest.fixture
async def store(postroom: RunningPostroom) -> AsyncIterator[StoreClient]:
    async with StoreClient(postroom.api_url, postroom.service_token) as client:
        yield client


@pytest.fixture
async def database(postroom: RunningPostroom) -> AsyncIterator[Database]:
    """The database of the running store, for what has no route."""
    opened = Database(postroom.database_url)
    yield opened
    await opened.close()


@pytest.fixture
async def fresh_database(database: Database, postroom: RunningPostroom) -> AsyncIterator[Database]:
    """A database of this test alone, migrated and empty, for what works on all there is."""
    name = f"test_{uuid4().hex}"
    async with database.engine.connect() as connection:
        autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await autocommit.execute(text(f"CREATE DATABASE {name}"))
        url = postroom.database_url.rpartition("/")[0] + f"/{name}"
        opened = Database(url)
        try:
            await migrate(url)
            yield opened
        finally:
            await opened.close()
            await autocommit.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def rest(postroom: RunningPostroom) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"Bearer {postroom.admin_token}"}
    async with aiohttp.ClientSession(postroom.api_url, headers=headers) as session:
        yield session


@pytest.fixture
def no_relay(postroom: RunningPostroom) -> Iterator[None]:
    """Nobody sends: the test is the worker, or mail stays where it is."""
    with postroom.stopped("smtp-out"):
        yield


async def make_account(store: StoreClient, rest: aiohttp.ClientSession) -> Account:
    address = f"user-{uuid4().hex[:12]}@{DOMAIN}"
    async with rest.post("/v1/accounts", json={"address": address, "password": PASSWORD}) as response:
        assert response.status == 201, await response.text()
        account_id = UUID((await response.json())["id"])
    return Account(account_id, address, {m.name: m for m in await store.mailboxes(account_id)})


@pytest.fixture
async def account(store: StoreClient, rest: aiohttp.ClientSession) -> Account:
    return await make_account(store, rest)


@pytest.fixture
async def other_account(store: StoreClient, rest: aiohttp.ClientSession) -> Account:
    return await make_account(store, rest)
