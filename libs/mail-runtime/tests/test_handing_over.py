"""Messages go to the store together where there are several, and alone to a store that takes them so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from mail_runtime import tracing
from mail_runtime.contracts import framing
from mail_runtime.contracts.errors import OverQuota, Refused, StoreError, Unavailable
from mail_runtime.contracts.store import Accepted, Answer, Handed, Transmission
from mail_runtime.handing_over import SET_MESSAGES, SMALL_OCTETS, HandingOver
from mail_runtime.store_client import StoreClient

WAIT_S = 20.0

Given = tuple[Handed, bytes]
Over = HandingOver[Given, None]


def transmission() -> Transmission:
    return Transmission(id=uuid4(), reverse_path="", recipients=["a@example.test"])


def given() -> Given:
    return Handed(transmission=transmission()), b"small"


@dataclass
class Store:
    """Answers requests when it is let."""

    answers: dict[UUID, StoreError] = field(default_factory=dict)
    sets: list[list[UUID]] = field(default_factory=list)
    came: asyncio.Condition = field(default_factory=asyncio.Condition)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    failure: StoreError | None = None

    async def send(self, given: Sequence[Given]) -> list[StoreError | None]:
        ids = [handed.transmission.id for handed, _ in given]
        async with self.came:
            self.sets.append(ids)
            self.came.notify_all()
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        return [self.answers.get(identifier) for identifier in ids]

    async def wait_for(self, messages: int) -> None:
        async with asyncio.timeout(WAIT_S), self.came:
            await self.came.wait_for(lambda: sum(map(len, self.sets)) >= messages)


@asynccontextmanager
async def accepting(over: Over, number: int) -> AsyncIterator[dict[UUID, asyncio.Task[None]]]:
    """That many messages at once, by their ids."""
    several = [given() for _ in range(number)]
    tasks = {one[0].transmission.id: asyncio.create_task(over.give(one)) for one in several}
    try:
        async with asyncio.timeout(WAIT_S):
            yield tasks
    finally:
        await over.close()
        await asyncio.gather(*tasks.values(), return_exceptions=True)


async def test_a_message_that_finds_nothing_on_its_way_goes_at_once() -> None:
    store = Store()
    over = Over(store.send)
    async with accepting(over, 1) as tasks:
        await store.wait_for(1)
        store.open.set()
        await asyncio.gather(*tasks.values())
    assert len(store.sets) == 1


async def test_many_go_in_two_halves_in_their_order() -> None:
    store = Store()
    async with accepting(Over(store.send), 20) as tasks:
        await store.wait_for(20)
        store.open.set()
        await asyncio.gather(*tasks.values())
    assert [len(ids) for ids in store.sets] == [10, 10]
    assert [identifier for ids in store.sets for identifier in ids] == list(tasks)


async def test_nobody_waits_for_a_request_that_hangs() -> None:
    store = Store()
    over = Over(store.send)
    async with accepting(over, 10):
        await store.wait_for(10)
        late = given()
        task = asyncio.create_task(over.give(late))
        await store.wait_for(11)  # though none has come back
        store.open.set()
        await task
    assert store.sets[-1] == [late[0].transmission.id]


async def test_a_request_is_bounded() -> None:
    store = Store()
    async with accepting(Over(store.send), 5 * SET_MESSAGES) as tasks:
        await store.wait_for(5 * SET_MESSAGES)
        store.open.set()
        await asyncio.gather(*tasks.values())
    assert max(map(len, store.sets)) <= SET_MESSAGES


async def test_each_gets_its_own_answer() -> None:
    store = Store()
    store.open.set()
    async with accepting(Over(store.send), 6) as tasks:
        ids = list(tasks)
        store.answers = {
            ids[1]: Refused("5.1.1 no such user here"),
            ids[2]: OverQuota("4.2.2 full"),
            ids[3]: Unavailable("a bug"),
        }
        results = await asyncio.gather(*tasks.values(), return_exceptions=True)
    assert [type(result) for result in results] == [type(None), Refused, OverQuota, Unavailable, type(None), type(None)]
    assert str(results[1]) == "5.1.1 no such user here"


async def test_a_request_that_fails_fails_for_all_in_it_and_the_next_is_tried() -> None:
    store = Store(failure=Unavailable("away"))
    over = Over(store.send)
    store.open.set()
    async with accepting(over, 4) as tasks:
        results = await asyncio.gather(*tasks.values(), return_exceptions=True)
        assert all(isinstance(result, Unavailable) for result in results)
        store.failure = None
        await over.give(given())


async def test_who_gave_up_before_it_went_is_left_out() -> None:
    store = Store()
    over = Over(store.send)
    async with accepting(over, 4) as tasks:
        first, *others = tasks.values()
        await asyncio.sleep(0)  # all have begun, nothing has gone
        first.cancel()
        store.open.set()
        await asyncio.gather(*others)
    assert {identifier for ids in store.sets for identifier in ids} == set(list(tasks)[1:])


async def test_a_request_is_broken_off_when_all_its_callers_gave_up() -> None:
    store = Store()
    broken_off = asyncio.Event()

    async def send(given: Sequence[Given]) -> list[StoreError | None]:
        try:
            return await store.send(given)
        except asyncio.CancelledError:
            broken_off.set()
            raise

    over = Over(send)
    async with accepting(over, 8) as tasks:
        await store.wait_for(8)
        first, *others = (tasks[identifier] for identifier in store.sets[0])
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        assert not broken_off.is_set()
        first.cancel()
        await broken_off.wait()
        store.open.set()
        await asyncio.gather(*(tasks[identifier] for identifier in store.sets[1]))


async def test_closing_tells_those_who_wait() -> None:
    store = Store()
    over = Over(store.send)
    async with accepting(over, 8) as tasks:
        await store.wait_for(8)
        await over.close()
        results = await asyncio.gather(*tasks.values(), return_exceptions=True)
    assert all(isinstance(result, Unavailable) for result in results)


class Served:
    """A store behind HTTP, as it was before sets of transmissions, or as it is."""

    def __init__(self, *, knows_sets: bool) -> None:
        self.refusals: dict[UUID, Answer] = {}
        self.alone: list[tuple[UUID, str | None]] = []
        self.sets: list[list[Handed]] = []
        self.app = web.Application(client_max_size=1 << 24)
        self.app.router.add_post("/internal/transmissions", self._alone)
        if knows_sets:
            self.app.router.add_post("/internal/transmission-sets", self._set)

    async def _alone(self, request: web.Request) -> web.Response:
        header, _ = framing.unpack_envelope(await request.read())
        sent = msgspec.msgpack.decode(header, type=Transmission)
        self.alone.append((sent.id, request.headers.get(tracing.HEADER)))
        return web.Response(body=msgspec.msgpack.encode({"transmission_id": sent.id}))

    async def _set(self, request: web.Request) -> web.Response:
        header, octets = framing.unpack_envelope(await request.read())
        self.sets.append(msgspec.msgpack.decode(header, type=list[Handed]))
        assert len(framing.unpack_stream(octets)) == len(self.sets[-1])
        answers = [self.refusals.get(one.transmission.id, Answer(status=200)) for one in self.sets[-1]]
        return web.Response(body=msgspec.msgpack.encode(answers))


@pytest.mark.parametrize("knows_sets", [True, False])
async def test_messages_reach_a_store_of_this_release_and_of_the_one_before(knows_sets: bool) -> None:
    served = Served(knows_sets=knows_sets)
    several = [transmission() for _ in range(10)]
    traces: dict[UUID, str] = {}

    async def accept(store: StoreClient, sent: Transmission, octets: bytes) -> None:
        with tracing.span("test"):
            traces[sent.id] = tracing.carried()
            await store.accept(sent, octets)

    large = transmission()
    async with TestServer(served.app) as server, StoreClient(str(server.make_url("")), "token") as store:
        messages = [(sent, b"small") for sent in several] + [(large, b"x" * (SMALL_OCTETS + 1))]
        await asyncio.gather(*(accept(store, sent, octets) for sent, octets in messages))
    together = [(one.transmission.id, one.traceparent) for each in served.sets for one in each]
    assert dict(together + served.alone) == traces
    assert len(together) == (10 if knows_sets else 0)
    assert large.id in dict(served.alone)


async def test_each_is_refused_as_the_store_says_of_it() -> None:
    served = Served(knows_sets=True)
    several = [transmission() for _ in range(6)]
    served.refusals = {
        several[1].id: Answer(status=422, text="5.1.1 no such user here"),
        several[2].id: Answer(status=507, text="4.2.2 full"),
        several[3].id: Answer(status=500, text="a bug"),
    }
    async with TestServer(served.app) as server, StoreClient(str(server.make_url("")), "token") as store:
        tasks = [store.accept(sent, b"small") for sent in several]
        results = await asyncio.gather(*tasks, return_exceptions=True)
    refused = [Refused, OverQuota, Unavailable]
    assert [type(result) for result in results] == [Accepted, *refused, Accepted, Accepted]
    assert str(results[1]) == "5.1.1 no such user here"
