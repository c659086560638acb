"""Messages gather into batches that are worth a transaction, and none waits for others in vain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import pytest

from store_api.ingest.gathering import BATCH_MESSAGES, BATCH_OCTETS, Gathering, Waiting

LONG_S: Final = 3600.0
PATIENCE_S: Final = 30.0


def add(gathering: Gathering, number: int, octets: int = 1) -> list[Waiting]:
    added = [Waiting([], octets, asyncio.get_running_loop().create_future()) for _ in range(number)]
    for waiting in added:
        gathering.add(waiting)
    return added


@asynccontextmanager
async def taken(gathering: Gathering) -> AsyncIterator[list[Waiting]]:
    async with AsyncExitStack() as stack:
        async with asyncio.timeout(PATIENCE_S):
            batch = await stack.enter_async_context(gathering.batch())
        yield batch


@asynccontextmanager
async def committer(gathering: Gathering) -> AsyncIterator[asyncio.Task[list[Waiting]]]:
    """One that takes a batch, and has come to where it waits for it."""

    async def take() -> list[Waiting]:
        async with gathering.batch() as batch:
            return batch

    task = asyncio.create_task(take())
    await asyncio.sleep(0)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def settled(task: asyncio.Task[list[Waiting]]) -> list[Waiting]:
    async with asyncio.timeout(PATIENCE_S):
        return await task


async def turns() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_message_that_finds_nobody_ahead_goes_at_once() -> None:
    gathering = Gathering(LONG_S)
    async with committer(gathering) as first:
        alone = add(gathering, 1)
        assert await settled(first) == alone


async def test_as_many_gather_as_others_have_in_hand() -> None:
    gathering = Gathering(LONG_S)
    ahead = add(gathering, 3)
    async with taken(gathering) as batch, committer(gathering) as second:
        assert batch == ahead
        added = add(gathering, 2)
        await turns()
        assert not second.done()
        added += add(gathering, 1)
        assert await settled(second) == added


async def test_what_waits_goes_when_the_batch_ahead_has_ended() -> None:
    gathering = Gathering(LONG_S)
    add(gathering, 3)
    async with AsyncExitStack() as ahead:
        add(gathering, 3)
        await ahead.enter_async_context(taken(gathering))
        async with committer(gathering) as second:
            added = add(gathering, 1)
            await turns()
            assert not second.done()
            await ahead.aclose()
            assert await settled(second) == added


async def test_nobody_waits_for_ever_while_a_batch_is_slow() -> None:
    gathering = Gathering(0.0)
    add(gathering, 3)
    async with taken(gathering), committer(gathering) as second:
        added = add(gathering, 1)
        assert await settled(second) == added


@pytest.mark.parametrize(("number", "octets"), [(BATCH_MESSAGES, 1), (1, BATCH_OCTETS)])
async def test_what_fills_a_batch_waits_for_no_more(number: int, octets: int) -> None:
    gathering = Gathering(LONG_S)
    async with AsyncExitStack() as stack:
        for _ in range(2):
            add(gathering, BATCH_MESSAGES)
            await stack.enter_async_context(taken(gathering))
        async with committer(gathering) as third:
            added = add(gathering, number, octets)
            assert await settled(third) == added


async def test_a_batch_has_its_bounds() -> None:
    gathering = Gathering(LONG_S)
    added = add(gathering, BATCH_MESSAGES + 1)
    async with taken(gathering) as batch:
        assert batch == added[:BATCH_MESSAGES]
    added = add(gathering, 3, BATCH_OCTETS)
    async with taken(gathering) as batch:
        assert len(batch) == 2  # the one that was left over, and the first that goes past the bound
    async with taken(gathering) as batch:
        assert batch == added[1:2]
    assert gathering.octets == BATCH_OCTETS


async def test_cancelled_messages_are_left_out() -> None:
    gathering = Gathering(LONG_S)
    gone, kept = add(gathering, 2)
    gone.future.cancel()
    async with taken(gathering) as batch:
        assert batch == [kept]
