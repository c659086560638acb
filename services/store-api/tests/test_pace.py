"""Work that can wait gives way to mail, but not for ever."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from store_api.ingest.pace import BUSY_MESSAGES, OTHER_SHARE, PATIENCE_WINDOWS, WINDOW_S, Pace


class Clock:
    """Time that passes when it is told to, and while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_who_has_nothing_in_hand_waits_for_nothing(clock: Clock) -> None:
    measured = Pace(clock, clock.sleep)
    clock.now += 1.0
    await measured.give_way()
    assert clock.now == 101.0


@pytest.mark.parametrize(
    ("messages", "share", "busy"), [(5, 1.0, True), (5, 0.5, False), (10, 0.5, True), (1, 1.0, False), (0, 0.0, False)]
)
async def test_a_process_is_busy_that_had_several_messages_in_hand_on_average(
    clock: Clock, messages: int, share: float, busy: bool
) -> None:
    measured = Pace(clock, clock.sleep)
    with ExitStack() as hands:
        for _ in range(messages):
            hands.enter_context(measured)
        clock.now += WINDOW_S * share
    clock.now += WINDOW_S * (1 - share)
    assert measured.is_busy is busy
    assert (messages * share >= BUSY_MESSAGES) is busy


async def test_a_process_is_busy_before_the_window_has_ended(clock: Clock) -> None:
    measured = Pace(clock, clock.sleep)
    with ExitStack() as hands:
        for _ in range(10):
            hands.enter_context(measured)
        clock.now += WINDOW_S * 0.3
        assert not measured.is_busy
        clock.now += WINDOW_S * 0.1
        assert measured.is_busy
    clock.now += 2 * WINDOW_S
    assert not measured.is_busy


async def test_other_work_gets_its_share_of_a_busy_process(clock: Clock) -> None:
    measured = Pace(clock, clock.sleep)
    with ExitStack() as hands:
        for _ in range(10):
            hands.enter_context(measured)
        clock.now += WINDOW_S
        await measured.give_way()
        for worked_s in (0.1, 0.4):
            before = clock.now
            clock.now += worked_s
            await measured.give_way()
            assert clock.now - before - worked_s == pytest.approx(worked_s / OTHER_SHARE, abs=WINDOW_S)


async def test_nothing_waits_for_ever(clock: Clock) -> None:
    measured = Pace(clock, clock.sleep)
    with ExitStack() as hands:
        for _ in range(10):
            hands.enter_context(measured)
        clock.now += 1000.0
        await measured.give_way()
        assert clock.now == 1100.0 + WINDOW_S * PATIENCE_WINDOWS
        assert measured.is_busy


async def test_other_work_goes_on_when_mail_stops(clock: Clock) -> None:
    measured = Pace(clock, clock.sleep)
    with ExitStack() as hands:
        for _ in range(10):
            hands.enter_context(measured)
        clock.now += 1000.0
    await measured.give_way()
    assert clock.now <= 1100.0 + 2 * WINDOW_S
