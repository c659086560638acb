"""Jobs pulled from a real NATS server: stopping, starting late, going away and coming back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.js.api import RetentionPolicy, StreamConfig

from mail_runtime.bus import Bus, Msg
from mail_runtime.contracts.subjects import RELAY_LANE, RELAY_STREAM, RELAY_SUBJECTS
from mail_testkit.clients import TIMEOUT_S
from mail_testkit.nats_server import Nats
from smtp_out.consumer import Consumer


class Recorder:
    """Stands where the worker stands: acknowledges each job."""

    def __init__(self) -> None:
        self.jobs: asyncio.Queue[bytes] = asyncio.Queue()

    async def handle(self, message: Msg) -> None:
        await message.ack()
        await self.jobs.put(message.data)


@pytest.fixture
async def nats_server(tmp_path: Path) -> AsyncIterator[Nats]:
    server = Nats(tmp_path)
    yield server
    server.stop()


async def publish(bus: Bus, payload: bytes) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        await bus.wait_connected()
        jetstream = bus.jetstream()
        await jetstream.add_stream(
            StreamConfig(name=RELAY_STREAM, subjects=[RELAY_SUBJECTS], retention=RetentionPolicy.WORK_QUEUE)
        )
        await jetstream.publish(RELAY_LANE, payload)


async def test_jobs_arrive_though_nats_comes_late_and_goes_away(nats_server: Nats) -> None:
    recorder, stopping = Recorder(), asyncio.Event()
    async with Bus(nats_server.url, "test") as bus, asyncio.timeout(TIMEOUT_S):
        consumer = asyncio.create_task(Consumer(bus, recorder, 4).run(stopping))  # type: ignore[arg-type]
        nats_server.start()
        await publish(bus, b"one")
        assert await recorder.jobs.get() == b"one"
        nats_server.stop()
        while bus.connected:
            await asyncio.sleep(0.02)
        nats_server.start()
        await publish(bus, b"two")
        assert await recorder.jobs.get() == b"two"
        stopping.set()
        await consumer


async def test_a_job_that_is_too_slow_for_the_stop_is_interrupted(
    nats_server: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smtp_out.consumer.STOP_GRACE_S", 0.1)
    stopping, started, interrupted = asyncio.Event(), asyncio.Event(), asyncio.Event()

    class Slow:
        async def handle(self, message: Msg) -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                interrupted.set()

    nats_server.start()
    async with Bus(nats_server.url, "test") as bus, asyncio.timeout(TIMEOUT_S):
        consumer = asyncio.create_task(Consumer(bus, Slow(), 4).run(stopping))  # type: ignore[arg-type]
        await publish(bus, b"one")
        await started.wait()
        stopping.set()
        await consumer
    assert interrupted.is_set()


async def test_many_jobs_come_without_waiting_for_a_request_to_end(
    nats_server: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smtp_out.consumer.FETCH_WAIT_S", TIMEOUT_S)
    recorder, stopping, number = Recorder(), asyncio.Event(), 30
    nats_server.start()
    async with Bus(nats_server.url, "test") as bus, asyncio.timeout(TIMEOUT_S):
        await publish(bus, b"0")
        consumer = asyncio.create_task(Consumer(bus, recorder, 4).run(stopping))  # type: ignore[arg-type]
        for n in range(1, number):
            await publish(bus, b"%d" % n)
        assert {await recorder.jobs.get() for _ in range(number)} == {b"%d" % n for n in range(number)}
        consumer.cancel()
        await asyncio.gather(consumer, return_exceptions=True)
