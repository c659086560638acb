"""Bounded caches of what never changes: summaries and octets of blobs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar
from uuid import UUID

from mail_runtime.contracts.store import Summary
from mail_runtime.store_client import StoreClient

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class BoundedCache(Generic[K, T]):
    """Keeps the values used last, up to a sum of octets. One value takes half of it at most."""

    def __init__(self, max_octets: int) -> None:
        self._max_octets = max_octets
        self._octets = 0
        self._kept: OrderedDict[K, tuple[T, int]] = OrderedDict()

    def get(self, key: K) -> T | None:
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def put(self, key: K, value: T, octets: int) -> None:
        if octets > self._max_octets // 2 or key in self._kept:
            return
        self._kept[key] = (value, octets)
        self._octets += octets
        while self._octets > self._max_octets:
            self._octets -= self._kept.popitem(last=False)[1][1]


class Contents:
    """Summaries and octets, from the caches or the store. What is gone at the store is left out.

    Keyed by blob: whoever asks has its id from a mailbox of its own account. Ids are numbers here, as in `Message`.
    """

    def __init__(self, store: StoreClient, summary_octets: int, body_octets: int) -> None:
        self._store = store
        self._summaries: BoundedCache[int, Summary] = BoundedCache(summary_octets)
        self._bodies: BoundedCache[int, bytes] = BoundedCache(body_octets)

    async def summaries(self, account_id: UUID, blobs: Sequence[int]) -> dict[int, Summary]:
        """Raises Unavailable."""
        found, missing = _known(self._summaries, blobs)
        if missing:
            for summary in await self._store.summaries(account_id, _ids(missing)):
                found[summary.blob_id.int] = summary
                octets = len(summary.header) + len(summary.envelope) + len(summary.body) + len(summary.bodystructure)
                self._summaries.put(summary.blob_id.int, summary, octets)
        return found

    async def body(self, account_id: UUID, blob: int) -> bytes:
        """Raises NotFound, Unavailable."""
        return (await self.bodies(account_id, [blob]))[blob]

    async def bodies(self, account_id: UUID, blobs: Sequence[int]) -> dict[int, bytes]:
        """Raises NotFound: one is gone. Unavailable."""
        found, missing = _known(self._bodies, blobs)
        if missing:
            fetched = await self._store.bodies(account_id, _ids(missing))
            for blob, octets in zip(missing, fetched, strict=True):
                found[blob] = octets
                self._bodies.put(blob, octets, len(octets))
        return found


def _known(cache: BoundedCache[int, T], blobs: Sequence[int]) -> tuple[dict[int, T], list[int]]:
    """Those that are kept, and each of the others once."""
    found: dict[int, T] = {}
    missing: dict[int, None] = {}
    for blob in blobs:
        kept = cache.get(blob)
        if kept is None:
            missing[blob] = None
        else:
            found[blob] = kept
    return found, list(missing)


def _ids(blobs: Sequence[int]) -> list[UUID]:
    return [UUID(int=blob) for blob in blobs]
