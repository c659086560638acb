"""Requests that are answered together: what comes while a batch is under way goes into the next one."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from mail_runtime.contracts.errors import StoreError, Unavailable

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

BATCH: Final = 100


class Together(Generic[Asked, Answer]):
    """For one event loop. `work` answers a batch in order; an error in place of an answer is raised to who asked.
    A batch waits `gather_s` for company; up to `at_once` of them are under way.

    Raised by `work` itself, Unavailable is everybody's; after another error each is asked alone, so that a bad one
    can't fail its neighbours.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Asked]], Awaitable[Sequence[Answer | StoreError]]],
        gather_s: float = 0.0,
        at_once: int = 1,
    ) -> None:
        self._work, self._gather_s, self._at_once = work, gather_s, at_once
        self._waiting: deque[tuple[Asked, asyncio.Future[Answer]]] = deque()
        self._working: set[asyncio.Task[None] | None] = set()

    async def ask(self, asked: Asked) -> Answer:
        """Raises StoreError, as `work` says."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, future))
        if len(self._working) < self._at_once:
            # In a context of its own: what is done for many belongs to nobody's trace.
            task = asyncio.create_task(self._answer_all(), name="together", context=contextvars.Context())
            self._working.add(task)
        return await future

    async def _answer_all(self) -> None:
        try:
            while self._waiting:
                if self._gather_s and len(self._waiting) < BATCH:
                    await asyncio.sleep(self._gather_s)
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                await self._answer([(asked, future) for asked, future in batch if not future.done()])
        finally:
            # At once: who asks before the task has ended needs another.
            self._working.discard(asyncio.current_task())
            while self._waiting:
                _settle(self._waiting.popleft()[1], Unavailable("the store is stopping; try again later"))

    async def _answer(self, batch: Sequence[tuple[Asked, asyncio.Future[Answer]]]) -> None:
        if not batch:
            return
        try:
            answers = await self._work([asked for asked, _ in batch])
        except Unavailable as error:
            for _, future in batch:
                _settle(future, Unavailable(str(error)))
        except Exception as error:
            if len(batch) == 1:
                _settle(batch[0][1], error)
                return
            for one in batch:
                await self._answer([one])
        except BaseException:
            for _, future in batch:
                _settle(future, Unavailable("the store is stopping; try again later"))
            raise
        else:
            for (_, future), answer in zip(batch, answers, strict=True):
                _settle(future, answer)


def _settle(future: asyncio.Future[Answer], answer: Answer | Exception) -> None:
    if future.done():  # whoever asked was cancelled
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
