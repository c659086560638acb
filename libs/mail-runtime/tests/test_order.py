"""An echo proves what was heard before it, with a real NATS server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from mail_runtime import order
from mail_runtime.bus import Bus, Msg
from mail_runtime.order import Echoes
from mail_testkit.nats_server import Nats

DEADLINE_S = 60.0
ROUNDS = 200


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[Nats]:
    server = Nats(tmp_path)
    server.start()
    yield server
    server.stop()


async def until_heard(echoes: Echoes) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await echoes.heard():
            await asyncio.sleep(0.01)


async def test_what_was_published_before_an_echo_is_heard_before_an_echo(
    nats: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "ECHO_TIMEOUT_S", DEADLINE_S)
    async with Bus(nats.url, "here") as here, Bus(nats.url, "there") as there:
        telling, asking = Echoes(here), Echoes(there)
        await here.wait_connected()
        await there.wait_connected()
        told: list[bytes] = []

        async def note(message: Msg) -> None:
            told.append(message.data)

        await there.subscribe("news", note)
        await until_heard(asking)
        await until_heard(telling)
        for n in range(ROUNDS):
            await here.publish("news", b"%d" % n)
            assert await telling.heard()
            assert await asking.heard()
            assert told[-1] == b"%d" % n


async def test_who_waits_at_once_shares_an_echo(nats: Nats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "ECHO_TIMEOUT_S", DEADLINE_S)
    async with Bus(nats.url, "here") as bus:
        echoes = Echoes(bus)
        await bus.wait_connected()
        await until_heard(echoes)
        sent: list[asyncio.Future[bool]] = []
        sound = bus.sound

        def counted(answered: Callable[[], None]) -> None:
            sound(answered)
            if not sent:  # it is on its way: these come too late for it
                sent.extend(asyncio.ensure_future(echoes.heard()) for _ in range(50))
            sent.append(asyncio.get_running_loop().create_future())

        monkeypatch.setattr(bus, "sound", counted)
        assert all(await asyncio.gather(*(echoes.heard() for _ in range(50))))
        assert all(await asyncio.gather(*sent[:50]))
        assert len(sent) == 52, "one for those who came at once, one for all who came before it was back"


async def test_without_a_server_nothing_is_proven(nats: Nats) -> None:
    async with Bus(nats.url, "here") as bus:
        echoes = Echoes(bus)
        assert not await echoes.heard()
        await bus.wait_connected()
        await until_heard(echoes)
        before = bus.interruptions
        nats.stop()
        async with asyncio.timeout(DEADLINE_S):
            while bus.connected:
                await asyncio.sleep(0.01)
        assert not await echoes.heard()
        nats.start()
        await until_heard(echoes)
        assert bus.interruptions > before


async def test_an_echo_that_is_late_holds_up_nobody_else(nats: Nats, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Bus(nats.url, "here") as bus:
        echoes = Echoes(bus)
        await bus.wait_connected()
        await until_heard(echoes)
        held: list[Callable[[], None]] = []
        sound = bus.sound
        monkeypatch.setattr(bus, "sound", held.append)
        monkeypatch.setattr(order, "PAUSE_S", 2 * DEADLINE_S)
        assert not await echoes.heard()
        assert not await echoes.heard()
        assert len(held) == 1, "the second didn't try"
        monkeypatch.setattr(bus, "sound", sound)
        sound(held[0])
        await until_heard(echoes)


async def test_an_echo_is_behind_what_waits_to_be_sent(nats: Nats, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who subscribes and who publishes does it by a buffer, which a PING of nats-py overtakes."""
    monkeypatch.setattr(order, "ECHO_TIMEOUT_S", DEADLINE_S)
    async with Bus(nats.url, "here") as here, Bus(nats.url, "there") as there:
        telling, asking = Echoes(here), Echoes(there)
        await here.wait_connected()
        await there.wait_connected()
        await until_heard(asking)
        await until_heard(telling)
        for n in range(ROUNDS):
            told: list[bytes] = []

            async def note(message: Msg, told: list[bytes] = told) -> None:
                told.append(message.data)

            await there.subscribe(f"news.{n}", note)
            assert await asking.heard()
            await here.publish(f"news.{n}", b"it")
            assert await telling.heard()
            assert await asking.heard()
            assert told == [b"it"]


async def test_an_echo_that_nobody_waits_for_any_more(nats: Nats) -> None:
    async with Bus(nats.url, "here") as bus:
        echoes = Echoes(bus)
        await bus.wait_connected()
        await until_heard(echoes)
        for _ in range(ROUNDS):
            given_up = asyncio.ensure_future(echoes.heard())
            await asyncio.sleep(0)
            given_up.cancel()
            assert await echoes.heard()
