"""Work that can wait gives way to mail, but not for ever."""

from __future__ import annotations

import asyncio

import pytest

from store_api.ingest import pace
from store_api.ingest.pace import Pace


@pytest.fixture(autouse=True)
def short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "WINDOW_S", 0.02)


async def test_who_has_nothing_in_hand_waits_for_nothing() -> None:
    async with asyncio.timeout(0.01):
        await Pace().give_way()


async def test_work_waits_while_messages_are_in_hand_but_not_for_ever() -> None:
    measured = Pace()
    with measured, measured:
        await asyncio.sleep(0.03)
        assert measured.is_busy
        waiting = asyncio.create_task(measured.give_way())
        await asyncio.sleep(0.03)
        assert not waiting.done()
        async with asyncio.timeout(5):
            await waiting
    await asyncio.sleep(0.05)
    assert not measured.is_busy
