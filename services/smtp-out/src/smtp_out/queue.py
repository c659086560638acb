"""The store's queue as workers use it: what several ask at about the same time goes in one call.

A claim may wait a moment for company: nothing was sent yet. A report goes at once, or with others behind the few
that are under way; whoever reports hears when the store has committed it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from typing import Final, TypeVar
from uuid import UUID

import msgspec

from mail_runtime import tracing
from mail_runtime.contracts.errors import NotFound, StoreError
from mail_runtime.contracts.store import Claim, ClaimDeliveries, Outcomes
from mail_runtime.store_client import StoreClient
from mail_runtime.together import Together

# Jobs come from NATS in handfuls.
CLAIM_GATHER_S: Final = 0.01
# Reports wait for nothing but these: who is killed while one waits sends twice.
REPORT_CALLS: Final = 3

T = TypeVar("T")


class Queue:
    """One per process, for any number of workers at the same time. Every method raises StoreError."""

    def __init__(self, store: StoreClient) -> None:
        self._store = store
        self._claiming = Together(self._claim_all, CLAIM_GATHER_S)
        self._reporting = Together(self._report_all, at_once=REPORT_CALLS)

    async def claim(self, wanted: ClaimDeliveries) -> Claim:
        """Raises Conflict: none of the deliveries can be had."""
        return await self._claiming.ask(wanted)

    async def queued_message(self, transmission_id: UUID) -> bytes:
        """The octets to send. Raises NotFound."""
        return await self._store.queued_message(transmission_id)

    async def report(self, outcomes: Outcomes) -> None:
        """Returns after commit; repeating it changes nothing. Raises Conflict: the lease was lost."""
        await self._reporting.ask(msgspec.structs.replace(outcomes, traceparent=tracing.carried()))

    async def _claim_all(self, wanted: Sequence[ClaimDeliveries]) -> Sequence[Claim | StoreError]:
        try:
            return await self._store.claim_all(wanted)
        except NotFound:
            # A store of yesterday.
            return await _each(self._store.claim(each) for each in wanted)

    async def _report_all(self, reports: Sequence[Outcomes]) -> Sequence[StoreError | None]:
        try:
            return await self._store.report_all(reports)
        except NotFound:
            return await _each(self._store.report(each) for each in reports)


async def _each(calls: Iterable[Awaitable[T]]) -> list[T | StoreError]:
    """What each came to. Raises what is no StoreError."""
    found: list[T | StoreError] = []
    for answer in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(answer, BaseException) and not isinstance(answer, StoreError):
            raise answer
        found.append(answer)
    return found
