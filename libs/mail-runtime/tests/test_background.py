"""Work in the background outlives its errors."""

from __future__ import annotations

import asyncio

import pytest

from mail_runtime.background import FAILURES, keep_running


async def test_an_error_is_counted_and_the_work_goes_on() -> None:
    runs = 0

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise ValueError("a row that nobody thought of")

    before = FAILURES.labels("tested")._value.get()
    await keep_running("tested", work, first_pause_s=0.001)
    assert runs == 3
    assert FAILURES.labels("tested")._value.get() == before + 2


async def test_an_error_of_a_group_counts_too() -> None:
    runs = 0

    async def work() -> None:
        nonlocal runs
        runs += 1
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(60))
            if runs == 1:
                raise ValueError("in a group")
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await keep_running("grouped", work, first_pause_s=0.001)
    assert runs == 2


async def test_it_ends_when_it_is_cancelled() -> None:
    started = asyncio.Event()

    async def work() -> None:
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(keep_running("cancelled", work))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
