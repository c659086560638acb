"""The maildrop locks of this process: leases at the store (RFC 1939 §4), all renewed by one call.

A process that dies renews nothing, and its locks are free after LEASE_S; so are those of a machine that vanishes.
A store that is away takes no lock from anybody: a lock is lost only when another session has been given it, and a
session that doesn't know it yet can't remove anything, since CloseMaildrop asks for the lock in its transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final
from uuid import UUID, uuid4

import structlog

from mail_runtime.contracts.errors import StoreError
from mail_runtime.contracts.store import KeepMaildrops
from mail_runtime.store_client import StoreClient

log = structlog.get_logger()

LEASE_S: Final = 6.0
RENEW_S: Final = 2.0


class Locks:
    """What the sessions of this process hold; `run` keeps it."""

    def __init__(self, store: StoreClient) -> None:
        self._store = store
        self.holder = uuid4()
        self._held: dict[UUID, Callable[[], None]] = {}

    def hold(self, owner: UUID, on_lost: Callable[[], None]) -> None:
        """Renew the lock of this session from now on; `on_lost` is called if another session has got it."""
        self._held[owner] = on_lost

    def release(self, owner: UUID) -> None:
        """Renew it no more."""
        self._held.pop(owner, None)

    async def run(self) -> None:
        """Renew for as long as this runs."""
        while True:
            await asyncio.sleep(RENEW_S)
            if self._held:
                await self.renew()

    async def renew(self) -> None:
        """Once. A store that doesn't answer is asked again the next time."""
        wanted = KeepMaildrops(holder=self.holder, owners=list(self._held), lease_s=LEASE_S)
        try:
            async with asyncio.timeout(LEASE_S):
                lost = await self._store.keep_maildrops(wanted)
        except (StoreError, TimeoutError) as error:
            log.info("locks_not_renewed", error=str(error))
            return
        for owner in lost:
            if (on_lost := self._held.pop(owner, None)) is not None:
                on_lost()
