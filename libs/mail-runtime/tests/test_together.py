"""Requests that are answered together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from mail_runtime.contracts.errors import Conflict, StoreError, Unavailable
from mail_runtime.together import Together


class Work:
    """Doubles numbers, in batches that it remembers; the first waits until `go`."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = asyncio.Event()

    async def __call__(self, numbers: Sequence[int]) -> Sequence[int | StoreError]:
        self.batches.append(list(numbers))
        await self.go.wait()
        if 13 in numbers:
            raise ValueError("unlucky")
        if 0 in numbers:
            raise Unavailable("down")
        return [Conflict("odd") if number % 2 else 2 * number for number in numbers]


async def asked(work: Work, *numbers: int) -> list[int | BaseException]:
    """The answers; the first number is alone in its batch, the others come while it is worked on."""
    together = Together(work)
    tasks = [asyncio.create_task(together.ask(number)) for number in numbers[:1]]
    while not work.batches:
        await asyncio.sleep(0)
    tasks += [asyncio.create_task(together.ask(number)) for number in numbers[1:]]
    await asyncio.sleep(0)
    work.go.set()
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_comes_meanwhile_goes_together() -> None:
    work = Work()
    answers = await asked(work, 2, 4, 6, 7)
    assert work.batches == [[2], [4, 6, 7]]
    assert answers[:3] == [4, 8, 12]
    assert isinstance(answers[3], Conflict)


async def test_a_bad_one_fails_alone() -> None:
    work = Work()
    answers = await asked(work, 2, 4, 13, 6)
    assert work.batches == [[2], [4, 13, 6], [4], [13], [6]]
    assert answers[:2] == [4, 8]
    assert isinstance(answers[2], ValueError)
    assert answers[3] == 12


async def test_unavailable_is_everybodys_and_the_next_batch_is_tried() -> None:
    work = Work()
    answers = await asked(work, 2, 0, 4)
    assert [type(answer) for answer in answers] == [int, Unavailable, Unavailable]
    together = Together(work)
    assert await together.ask(8) == 16


async def test_who_gave_up_is_left_out() -> None:
    work = Work()
    together = Together(work)
    first = asyncio.create_task(together.ask(2))
    while not work.batches:
        await asyncio.sleep(0)
    second, third = asyncio.create_task(together.ask(4)), asyncio.create_task(together.ask(6))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    work.go.set()
    assert (await first, await third) == (4, 12)
    assert work.batches == [[2], [6]]


async def test_several_batches_at_once_and_no_more_than_that() -> None:
    work = Work()
    together = Together(work, at_once=2)
    tasks = []
    for number in (2, 4, 6, 8):
        tasks.append(asyncio.create_task(together.ask(number)))
        for _ in range(3):
            await asyncio.sleep(0)
    assert work.batches == [[2], [4]]
    work.go.set()
    assert await asyncio.gather(*tasks) == [4, 8, 12, 16]
    assert work.batches[2:] == [[6, 8]]
    assert await together.ask(10) == 20, "and again, when all had ended"


async def test_a_batch_waits_for_company() -> None:
    work = Work()
    work.go.set()
    together = Together(work, gather_s=0.01)
    first = asyncio.create_task(together.ask(2))
    await asyncio.sleep(0)
    assert await asyncio.gather(first, together.ask(4)) == [4, 8]
    assert work.batches == [[2, 4]]
