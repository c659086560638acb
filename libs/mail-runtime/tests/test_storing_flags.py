"""Changes of flags go to the store together where there are several, and alone where they have to."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from mail_runtime.contracts.errors import Refused
from mail_runtime.contracts.store import FlagSet, FlagsStored, StoreFlags
from mail_runtime.contracts.store.mailboxes import MOST_TOGETHER
from mail_runtime.store_client import StoreClient

WAIT_S = 20.0
BAD = "bad flag"


class Served:
    """A store behind HTTP, as it was before sets of changes, or as it is. The modseq of an answer is the change's uid.

    It answers when it is let.
    """

    def __init__(self, *, knows_sets: bool = True) -> None:
        self.alone: list[int] = []
        self.sets: list[list[int]] = []
        self.came = asyncio.Condition()
        self.open = asyncio.Event()
        self.app = web.Application()
        self.app.router.add_post("/internal/accounts/{account}/mailboxes/{mailbox}/flags", self._alone)
        if knows_sets:
            self.app.router.add_post("/internal/flag-sets", self._set)

    async def _alone(self, request: web.Request) -> web.Response:
        change = msgspec.msgpack.decode(await request.read(), type=StoreFlags)
        await self._wait(self.alone, _uid(change))
        if BAD in change.flags:
            return web.Response(status=422, text=BAD)
        return web.Response(body=msgspec.msgpack.encode(FlagsStored(modseq=_uid(change))))

    async def _set(self, request: web.Request) -> web.Response:
        sets = msgspec.msgpack.decode(await request.read(), type=list[FlagSet])
        await self._wait(self.sets, [_uid(one.change) for one in sets])
        answers = [None if BAD in one.change.flags else FlagsStored(modseq=_uid(one.change)) for one in sets]
        return web.Response(body=msgspec.msgpack.encode(answers))

    async def _wait(self, came: list[Any], what: Any) -> None:
        async with self.came:
            came.append(what)
            self.came.notify_all()
        await self.open.wait()

    async def have_come(self, changes: int) -> None:
        async with asyncio.timeout(WAIT_S), self.came:
            await self.came.wait_for(lambda: len(self.alone) + sum(map(len, self.sets)) >= changes)


def _uid(change: StoreFlags) -> int:
    [uid] = change.uids
    return uid if isinstance(uid, int) else uid[1]


def store(client: StoreClient, uid: Any, *flags: str, **values: Any) -> asyncio.Task[FlagsStored]:
    elsewhere = values.pop("elsewhere", False)
    change = StoreFlags(uids=[uid], operation="add", flags=list(flags), **values)
    return asyncio.create_task(client.store_flags(ACCOUNT, uuid4(), change, elsewhere=elsewhere))


ACCOUNT = UUID(int=1)


@pytest.mark.parametrize("knows_sets", [True, False])
async def test_changes_reach_a_store_of_this_release_and_of_the_one_before(knows_sets: bool) -> None:
    served = Served(knows_sets=knows_sets)
    served.open.set()
    async with TestServer(served.app) as server, StoreClient(str(server.make_url("")), "token") as client:
        for _ in range(2):
            tasks = [store(client, uid) for uid in range(1, 11)]
            assert [one.modseq for one in await asyncio.gather(*tasks)] == list(range(1, 11))
    assert len(served.alone) + sum(map(len, served.sets)) == 20
    assert bool(served.sets) == knows_sets


async def test_what_others_would_wait_for_goes_alone() -> None:
    served = Served()
    served.open.set()
    async with TestServer(served.app) as server, StoreClient(str(server.make_url("")), "token") as client:
        alone = [
            store(client, 1, elsewhere=True),
            store(client, 2, unchanged_since=7),
            store(client, (1, MOST_TOGETHER + 1)),
        ]
        plain = [store(client, uid) for uid in (3, 4, 5, 6)]
        await asyncio.gather(*alone, *plain)
    assert {1, 2, MOST_TOGETHER + 1} <= set(served.alone)
    assert {uid for each in served.sets for uid in each} <= {3, 4, 5, 6}


async def test_who_is_told_to_come_alone_does_and_the_others_have_their_answers() -> None:
    served = Served()
    served.open.set()
    async with TestServer(served.app) as server, StoreClient(str(server.make_url("")), "token") as client:
        tasks = [store(client, uid, *([BAD] if uid == 2 else [])) for uid in (1, 2, 3, 4)]
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [FlagsStored, Refused, FlagsStored, FlagsStored]
    assert served.alone == [2]


async def test_who_goes_away_takes_nobody_along() -> None:
    served = Served()
    async with TestServer(served.app) as server, StoreClient(str(server.make_url("")), "token") as client:
        first, second, third = (store(client, uid) for uid in (1, 2, 3))
        await served.have_come(3)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        served.open.set()
        async with asyncio.timeout(WAIT_S):
            assert ((await first).modseq, (await third).modseq) == (1, 3)


async def test_a_change_that_finds_nothing_on_its_way_goes_at_once_and_alone() -> None:
    served = Served()
    served.open.set()
    async with TestServer(served.app) as server, StoreClient(str(server.make_url("")), "token") as client:
        for uid in (1, 2, 3):
            await store(client, uid)
    assert (served.alone, served.sets) == ([1, 2, 3], [])
