"""How connections end together: at once, or evenly over some time."""

from __future__ import annotations

import asyncio

from mail_runtime.connections import Connections

LIMIT_S = 60.0


class Open:
    """A connection that ends when it is asked to, and knows when that was."""

    def __init__(self, *, is_deaf: bool = False) -> None:
        self._asked, self._is_deaf = asyncio.Event(), is_deaf
        self.asked_at: float | None = None

    def stop(self) -> None:
        self.asked_at = asyncio.get_running_loop().time()
        if not self._is_deaf:
            self._asked.set()

    async def run(self) -> None:
        await self._asked.wait()


def opened(*open_ones: Open) -> Connections:
    connections = Connections(100)
    for each in open_ones:
        connections.add(asyncio.create_task(each.run()), each)
    return connections


def unexpected(late: int) -> None:
    raise AssertionError(f"{late} were cut")


async def test_they_end_evenly_over_the_drain() -> None:
    ones = [Open() for _ in range(5)]
    start = asyncio.get_running_loop().time()
    await opened(*ones).stop_all(LIMIT_S, unexpected, drain_s=0.25)
    pauses = [each.asked_at - start for each in ones if each.asked_at is not None]
    # Not before their turn; how much later is the machine's business.
    assert [round(pause / 0.05 - n, 1) >= 0 for n, pause in enumerate(pauses)] == [True] * 5


async def test_without_a_drain_all_are_asked_before_any_has_ended() -> None:
    ones = [Open() for _ in range(5)]
    connections = opened(*ones)
    stopping = asyncio.create_task(connections.stop_all(LIMIT_S, unexpected))
    await asyncio.sleep(0)
    assert len(connections) == 5
    assert all(each.asked_at is not None for each in ones)
    await stopping


async def test_those_that_do_not_listen_are_cut() -> None:
    cut: list[int] = []
    await opened(Open(), Open(is_deaf=True)).stop_all(0.05, cut.append)
    assert cut == [1]
