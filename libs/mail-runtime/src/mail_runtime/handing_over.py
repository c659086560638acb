"""What many callers hand over to the store, together in few requests.

A request costs its caller and the store as much as a tenth of the work for a small message, and more than a change of
flags, however many are in it. What finds nothing on its way goes at once. While others are, more is gathered until it
is as many as those, or for GATHER_S; then half of all that are in hand go, so that one half is received while the other
is stored (`store_api.ingest.gathering` does the same on the other side). Each caller gets his own answer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from mail_runtime.contracts.errors import StoreError, Unavailable

Given = TypeVar("Given")
Answer = TypeVar("Answer")

# Ours: what a message waits at most for others; about as long as the store takes for a batch.
GATHER_S: Final = 0.02
# Of one request. Larger messages go alone: they would hold up the others.
SET_MESSAGES: Final = 100
SET_OCTETS: Final = 512 * 1024
SMALL_OCTETS: Final = 64 * 1024
# Where the store doesn't answer, requests are as many as that, and the rest waits for its callers' time-outs.
REQUESTS: Final = 32

_BROKEN_OFF: Final = "the call was broken off; try again later"


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[Given, Answer]):
    given: Given
    future: asyncio.Future[Answer]


class HandingOver(Generic[Given, Answer]):
    """For one event loop, any number of callers. `send` makes one request, whose answers are in order; an error among
    them is raised to who gave that one, a StoreError of `send` itself is everyone's in it. `size` is octets of one.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Given]], Awaitable[Sequence[Answer | StoreError]]],
        size: Callable[[Given], int] = lambda _: 0,
        gather_s: float = GATHER_S,
    ) -> None:
        self._send, self._size, self._gather_s = send, size, gather_s
        self._pending: deque[_Waiting[Given, Answer]] = deque()
        self._requests: set[asyncio.Task[None]] = set()
        self._in_hand = 0
        self._is_going = False
        self._patience: asyncio.TimerHandle | None = None

    async def give(self, given: Given) -> Answer:
        """The store's answer. Raises what it says of this one, and Unavailable."""
        loop = asyncio.get_running_loop()
        waiting: _Waiting[Given, Answer] = _Waiting(given, loop.create_future())
        self._pending.append(waiting)
        if not self._is_going and (self._patience is None or len(self._pending) >= self._in_hand):
            # What comes in the same turn of the loop goes along.
            self._is_going = True
            loop.call_soon(self._go_on)
        return await waiting.future

    async def close(self) -> None:
        """Break off what is on its way. Its callers get Unavailable."""
        for waiting in self._pending:
            _tell(waiting.future, Unavailable(_BROKEN_OFF))
        self._pending.clear()
        if self._patience is not None:
            self._patience.cancel()
        requests = list(self._requests)
        for request in requests:
            request.cancel()
        await asyncio.gather(*requests, return_exceptions=True)

    def _overdue(self) -> None:
        self._patience = None
        self._begin()
        self._go_on()

    def _go_on(self) -> None:
        """Begin requests as long as enough wait for one; else see to it that nobody waits for long."""
        self._is_going = False
        while self._pending and len(self._pending) >= self._in_hand and len(self._requests) < REQUESTS:
            self._begin()
        if self._patience is not None and not self._pending:
            self._patience.cancel()
            self._patience = None
        elif self._patience is None and self._pending:
            self._patience = asyncio.get_running_loop().call_later(self._gather_s, self._overdue)

    def _begin(self) -> None:
        if len(self._requests) >= REQUESTS or not (batch := self._take()):
            return
        # Of its own: the trace of the caller that happened to be the last isn't that of the others.
        task = asyncio.get_running_loop().create_task(self._request(batch), name="handing-over", context=Context())
        self._requests.add(task)
        self._in_hand += len(batch)

        def ended(task: asyncio.Task[None]) -> None:
            self._requests.discard(task)
            self._in_hand -= len(batch)
            self._go_on()

        task.add_done_callback(ended)
        _break_off_when_all_gave_up(task, [one.future for one in batch])

    def _take(self) -> list[_Waiting[Given, Answer]]:
        most = min(SET_MESSAGES, (len(self._pending) + self._in_hand + 1) // 2)
        batch: list[_Waiting[Given, Answer]] = []
        octets = 0
        while self._pending and len(batch) < most and octets < SET_OCTETS:
            waiting = self._pending.popleft()
            if not waiting.future.done():  # else its caller gave up
                batch.append(waiting)
                octets += self._size(waiting.given)
        return batch

    async def _request(self, batch: Sequence[_Waiting[Given, Answer]]) -> None:
        answers: Sequence[Answer | StoreError]
        try:
            answers = await self._send([one.given for one in batch])
        except StoreError as error:
            answers = [type(error)(str(error)) for _ in batch]
        except BaseException:
            for one in batch:
                _tell(one.future, Unavailable(_BROKEN_OFF))
            raise
        for one, answer in zip(batch, answers, strict=True):
            _tell(one.future, answer)


def _break_off_when_all_gave_up(request: asyncio.Task[None], futures: Sequence[asyncio.Future[Answer]]) -> None:
    """Else those to a store that has gone silently would take the place of others until their own time-out."""
    left = len(futures)

    def done(future: asyncio.Future[Answer]) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            request.cancel()  # does nothing to one that has ended

    for future in futures:
        future.add_done_callback(done)


def _tell(future: asyncio.Future[Answer], answer: Answer | StoreError) -> None:
    if future.done():
        return
    if isinstance(answer, StoreError):
        future.set_exception(answer)
    else:
        future.set_result(answer)
