"""What is under way is bounded; what fails is tried again; what is away isn't asked."""

from __future__ import annotations

import asyncio
import io
from typing import BinaryIO

import pytest
from prometheus_client import REGISTRY

from mail_runtime.contracts.errors import Unavailable
from mail_testkit.clients import TIMEOUT_S
from store_api.blobs import budget as budgets
from store_api.blobs.budget import OctetBudget
from store_api.blobs.circuit import FAILURES, PAUSE_S, Circuit
from store_api.blobs.faults import Failed, ObjectMissing, Passing
from store_api.blobs.retrying import ATTEMPTS, RetryingStorage


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_who_finds_no_room_waits_for_it() -> None:
    budget = OctetBudget(100)
    order: list[str] = []
    release = asyncio.Event()

    async def hold(name: str, octets: int, until: asyncio.Event | None = None) -> None:
        async with budget.take(octets):
            order.append(name)
            if until is not None:
                await until.wait()

    first = asyncio.create_task(hold("first", 60, release))
    await asyncio.sleep(0)
    large = asyncio.create_task(hold("large", 100))
    small = asyncio.create_task(hold("small", 10))
    await asyncio.sleep(0)
    # The small one would fit, but came later: it doesn't starve the large one.
    assert order == ["first"]
    release.set()
    await asyncio.gather(first, large, small)
    assert order == ["first", "large", "small"]


async def test_what_is_larger_than_the_budget_passes_alone() -> None:
    budget = OctetBudget(10)
    async with budget.take(1000):
        other = asyncio.create_task(_taken(budget, 1))
        await asyncio.sleep(0)
        assert not other.done()
    await other


async def _taken(budget: OctetBudget, octets: int) -> None:
    async with budget.take(octets):
        pass


async def test_who_gives_up_takes_nothing_with_him() -> None:
    budget = OctetBudget(10)
    async with budget.take(10):
        waiting = [asyncio.create_task(_taken(budget, 10)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.gather(waiting[0], return_exceptions=True)
    waiting[1].cancel()  # it has just been let in
    await asyncio.gather(*waiting, return_exceptions=True)
    async with asyncio.timeout(TIMEOUT_S):
        await _taken(budget, 10)


async def test_waiting_for_room_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "WAIT_TIMEOUT_S", 0.01)
    budget = OctetBudget(10)
    async with budget.take(10):
        with pytest.raises(Unavailable, match="under way"):
            await _taken(budget, 1)
    await _taken(budget, 10)


def test_a_circuit_opens_and_closes_again() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    for _ in range(FAILURES - 1):
        assert circuit.admits()
        circuit.failed()
    circuit.succeeded()
    for _ in range(FAILURES):
        assert circuit.admits()
        circuit.failed()
    assert circuit.is_open
    assert circuit.refuses()
    assert not circuit.admits()
    clock.now += PAUSE_S
    assert not circuit.refuses()
    assert circuit.admits()  # one tries
    assert not circuit.admits()
    circuit.failed()
    clock.now += PAUSE_S
    assert circuit.admits()
    circuit.succeeded()
    assert not circuit.is_open
    assert circuit.admits()
    assert circuit.admits()


class Flaky:
    """A storage that fails as told, then works."""

    def __init__(self, *faults: OSError) -> None:
        self.faults = list(faults)
        self.attempts = 0
        self.written = b""

    def _attempt(self) -> None:
        self.attempts += 1
        if self.faults:
            raise self.faults.pop(0)

    def check(self) -> None:
        self._attempt()

    def write(self, key: str, source: BinaryIO, length: int) -> None:
        self.written = source.read(length // 2 if self.faults else length)
        self._attempt()

    def read(self, key: str, offset: int, length: int) -> bytes:
        self._attempt()
        return bytes(length)

    def delete(self, key: str) -> None:
        self._attempt()

    def keys(self, after: str, limit: int) -> list[str]:
        self._attempt()
        return []


def test_what_passes_is_tried_again_from_the_start() -> None:
    flaky = Flaky(Passing("503"), Passing("timed out"))
    source = io.BytesIO(b"..octets")
    source.seek(2)
    RetryingStorage(flaky, Circuit()).write("key", source, 6)
    assert (flaky.attempts, flaky.written) == (3, b"octets")


def test_attempts_end() -> None:
    flaky = Flaky(*[Passing("503")] * 10)
    with pytest.raises(Passing):
        RetryingStorage(flaky, Circuit()).read("key", 0, 1)
    assert flaky.attempts == ATTEMPTS


@pytest.mark.parametrize("fault", [Failed("403"), ObjectMissing("key"), OSError("no space left")])
def test_what_stays_is_not_tried_again(fault: OSError) -> None:
    flaky = Flaky(fault)
    with pytest.raises(type(fault)):
        RetryingStorage(flaky, Circuit()).read("key", 0, 1)
    assert flaky.attempts == 1


def test_answers_that_are_errors_close_the_circuit() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    for _ in range(FAILURES):
        circuit.failed()
    clock.now += PAUSE_S
    with pytest.raises(ObjectMissing):
        RetryingStorage(Flaky(ObjectMissing("key")), circuit).read("key", 0, 1)
    assert not circuit.is_open


def test_while_the_circuit_is_open_nothing_is_asked() -> None:
    circuit = Circuit(Clock())
    for _ in range(FAILURES):
        circuit.failed()
    flaky = Flaky()
    with pytest.raises(Passing, match="away"):
        RetryingStorage(flaky, circuit).check()
    assert flaky.attempts == 0


def test_attempts_are_counted() -> None:
    def counts() -> list[float]:
        outcomes = ("ok", "passing", "missing", "failed")
        return [metric("postroom_blob_requests_total", operation="get", outcome=outcome) for outcome in outcomes]

    before, octets = counts(), metric("postroom_blob_octets_total", operation="get")
    timed = metric("postroom_blob_seconds_count", operation="get")
    storage = RetryingStorage(Flaky(Passing("503"), ObjectMissing("key"), Failed("403")), Circuit())
    for fault in (ObjectMissing, Failed):
        with pytest.raises(fault):
            storage.read("key", 0, 100)
    storage.read("key", 0, 100)
    assert [after - now for after, now in zip(counts(), before, strict=True)] == [1, 1, 1, 1]
    assert metric("postroom_blob_octets_total", operation="get") == octets + 100
    assert metric("postroom_blob_seconds_count", operation="get") == timed + 4


def test_an_open_circuit_shows() -> None:
    circuit = Circuit()
    for _ in range(FAILURES):
        circuit.failed()
    assert metric("postroom_blob_circuit_open") == 1
    circuit.succeeded()
    assert metric("postroom_blob_circuit_open") == 0


async def test_octets_in_flight_show() -> None:
    before = metric("postroom_blob_in_flight_octets")
    async with OctetBudget(100).take(60):
        assert metric("postroom_blob_in_flight_octets") == before + 60
    assert metric("postroom_blob_in_flight_octets") == before
