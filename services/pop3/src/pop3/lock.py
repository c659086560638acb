"""The exclusive access to a maildrop (RFC 1939 §8): a lease at the store, renewed while the session lasts."""

from __future__ import annotations

import asyncio
from typing import Final
from uuid import UUID, uuid4

import structlog

from mail_proto.pop3.errors import InUse
from mail_runtime.contracts.errors import Conflict, StoreError, Unavailable
from mail_runtime.contracts.store import MaildropLock
from mail_runtime.store_client import StoreClient

log = structlog.get_logger()

LEASE_S: Final = 60
RENEW_S: Final = 20.0
RELEASE_TIMEOUT_S: Final = 5.0


class LockLost(Exception):
    """Another session may have the maildrop: end without removing anything."""


class Lock:
    """Taken by `acquire`; `keep` renews it until it is cancelled or lost."""

    def __init__(self, store: StoreClient, account_id: UUID) -> None:
        self._store, self._account_id = store, account_id
        self._wanted = MaildropLock(owner=uuid4(), lease_s=LEASE_S)

    async def acquire(self) -> None:
        """Raises InUse; Unavailable."""
        try:
            await self._store.lock_maildrop(self._account_id, self._wanted)
        except Conflict as error:
            raise InUse("another session has this maildrop open") from error

    async def renew(self) -> None:
        """Raises LockLost: somebody else has it. Unavailable."""
        try:
            await self._store.lock_maildrop(self._account_id, self._wanted)
        except Conflict as error:
            raise LockLost from error

    async def keep(self) -> None:
        """Renew for as long as this runs. Raises LockLost: also when the store was away for a whole lease."""
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while True:
            await asyncio.sleep(RENEW_S if loop.time() - renewed < RENEW_S else 1.0)
            try:
                await self.renew()
            except Unavailable as error:
                if loop.time() - renewed > LEASE_S:
                    raise LockLost from error
                continue
            renewed = loop.time()

    async def release(self) -> None:
        """Give it back; a failure only means that it runs out by itself."""
        try:
            async with asyncio.timeout(RELEASE_TIMEOUT_S):
                await self._store.unlock_maildrop(self._account_id, self._wanted.owner)
        except (StoreError, TimeoutError) as error:
            log.info("unlock_failed", error=str(error))
