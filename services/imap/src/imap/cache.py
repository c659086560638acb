"""Bounded caches of what never changes: summaries and octets of blobs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Generic, TypeVar
from uuid import UUID

from mail_runtime.contracts.store import Summary
from mail_runtime.store_client import StoreClient

T = TypeVar("T")


class BoundedCache(Generic[T]):
    """Keeps the values used last, up to a sum of octets. One value takes half of it at most."""

    def __init__(self, max_octets: int) -> None:
        self._max_octets = max_octets
        self._octets = 0
        self._kept: OrderedDict[UUID, tuple[T, int]] = OrderedDict()

    def get(self, key: UUID) -> T | None:
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def put(self, key: UUID, value: T, octets: int) -> None:
        if octets > self._max_octets // 2 or key in self._kept:
            return
        self._kept[key] = (value, octets)
        self._octets += octets
        while self._octets > self._max_octets:
            self._octets -= self._kept.popitem(last=False)[1][1]


class Contents:
    """Summaries and octets, from the caches or the store. What is gone at the store is left out.

    Keyed by blob: whoever asks has the blob's id from a mailbox of its own account.
    """

    def __init__(self, store: StoreClient, summary_octets: int, body_octets: int) -> None:
        self._store = store
        self._summaries: BoundedCache[Summary] = BoundedCache(summary_octets)
        self._bodies: BoundedCache[bytes] = BoundedCache(body_octets)

    async def summaries(self, account_id: UUID, blob_ids: Sequence[UUID]) -> dict[UUID, Summary]:
        """Raises Unavailable."""
        found = {blob_id: kept for blob_id in blob_ids if (kept := self._summaries.get(blob_id)) is not None}
        missing = [blob_id for blob_id in dict.fromkeys(blob_ids) if blob_id not in found]
        if missing:
            for summary in await self._store.summaries(account_id, missing):
                found[summary.blob_id] = summary
                octets = len(summary.header) + len(summary.envelope) + len(summary.body) + len(summary.bodystructure)
                self._summaries.put(summary.blob_id, summary, octets)
        return found

    async def body(self, account_id: UUID, blob_id: UUID) -> bytes:
        """Raises NotFound, Unavailable."""
        return (await self.bodies(account_id, [blob_id]))[blob_id]

    async def bodies(self, account_id: UUID, blob_ids: Sequence[UUID]) -> dict[UUID, bytes]:
        """Raises NotFound: one is gone. Unavailable."""
        found = {blob_id: kept for blob_id in blob_ids if (kept := self._bodies.get(blob_id)) is not None}
        missing = [blob_id for blob_id in dict.fromkeys(blob_ids) if blob_id not in found]
        if missing:
            fetched = await self._store.bodies(account_id, missing)
            for blob_id, octets in zip(missing, fetched, strict=True):
                found[blob_id] = octets
                self._bodies.put(blob_id, octets, len(octets))
        return found
