"""Where recipients lead, asked from the store and remembered for a moment.

A large share of RCPTs name addresses seen a second ago. What is remembered can be stale for TTL_S: the store
decides again when the message comes, so staleness costs a late refusal, never a wrong delivery.
Unknown addresses aren't remembered: an account exists from the moment of its creation.
"""

from __future__ import annotations

import time
from typing import Final, Literal, Protocol

from mail_runtime.contracts.store import Resolution

TTL_S: Final = 5.0
MAX_REMEMBERED: Final = 10_000

Status = Literal["local", "remote", "unknown"]


class Directory(Protocol):
    """The part of the store client that is used here."""

    async def resolve(self, addresses: list[str]) -> list[Resolution]: ...


class Recipients:
    """Shared by all connections of the process."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._known: dict[str, tuple[float, Status]] = {}

    async def status(self, address: str) -> Status:
        """Raises the store's errors."""
        known = self._known.get(address)
        now = time.monotonic()
        if known is not None and now - known[0] < TTL_S:
            return known[1]
        (resolution,) = await self._directory.resolve([address])
        self._known.pop(address, None)
        if resolution.status != "unknown":
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[address] = (now, resolution.status)
        return resolution.status

    def forget(self, addresses: list[str]) -> None:
        """The store contradicted what is remembered."""
        for address in addresses:
            self._known.pop(address, None)
