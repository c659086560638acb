"""Work that can wait gives way to mail, but not for ever."""

from __future__ import annotations

import asyncio

from store_api.ingest import pace
from store_api.ingest.pace import PATIENCE_WINDOWS, WINDOW_S, Pace


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_who_has_nothing_in_hand_waits_for_nothing() -> None:
    measured = Pace(Clock())
    async with asyncio.timeout(WINDOW_S / 2):
        await measured.give_way()


async def test_a_process_is_busy_that_had_messages_in_hand_for_most_of_the_window() -> None:
    clock = Clock()
    measured = Pace(clock)
    for share, busy in ((pace.BUSY_SHARE + 0.1, True), (pace.BUSY_SHARE - 0.1, False), (1.0, True), (0.0, False)):
        if share:
            with measured, measured:
                clock.now += WINDOW_S * share
        clock.now += WINDOW_S * (1 - share)
        assert measured.is_busy is busy, share


async def test_nothing_waits_for_ever() -> None:
    clock = Clock()
    measured = Pace(clock)
    with measured:
        clock.now += WINDOW_S
        waiting = asyncio.create_task(measured.give_way())
        async with asyncio.timeout(WINDOW_S * (PATIENCE_WINDOWS + 5)):
            await waiting
        assert measured.is_busy
