"""What everything about bodies needs: the storage with its threads, the keys, the budgets, the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from mail_runtime.contracts.errors import Unavailable
from store_api.blobs.budget import OctetBudget
from store_api.blobs.circuit import Circuit
from store_api.blobs.faults import ObjectMissing
from store_api.blobs.keyring import Keyring
from store_api.blobs.retrying import RetryingStorage
from store_api.blobs.storage import Storage
from store_api.db.engine import Database

T = TypeVar("T")

THREADS: Final = 16


@dataclass(frozen=True, slots=True)
class Policy:
    """How bodies are stored, and how much of them a process holds.

    `zstd_level` 0: nothing is compressed. `receiving_octets`: of bodies on their way in, and of large ones held whole
    for other reasons; `sending_octets`: of those on their way out, apart so that slow readers can't keep mail from
    coming in. `spool`: where large ones are put meanwhile; None: where the system puts temporary files.
    """

    zstd_level: int = 1
    receiving_octets: int = 64 * 1024 * 1024
    sending_octets: int = 64 * 1024 * 1024
    spool: str | None = None


class Blobs:
    """One per process, for one event loop."""

    def __init__(
        self, storage: Storage, database: Database, keyring: Keyring | None = None, policy: Policy | None = None
    ) -> None:
        self.storage = RetryingStorage(storage, Circuit())
        self.database = database
        self.keyring = Keyring({}) if keyring is None else keyring
        self.policy = Policy() if policy is None else policy
        self.receiving = OctetBudget(self.policy.receiving_octets)
        self.sending = OctetBudget(self.policy.sending_octets)
        self._threads = ThreadPoolExecutor(THREADS, "blobs")

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        """Run what blocks on the storage in a thread. Raises ObjectMissing, and what `call` raises.

        Raises Unavailable: the storage doesn't work now; at once while it is known to be away.
        """
        if self.storage.circuit.refuses():
            raise Unavailable("the object storage is away; try again later")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call, *args)
        except ObjectMissing:
            raise
        except OSError as error:
            raise Unavailable("the object storage doesn't answer; try again later") from error

    async def check(self) -> None:
        """Make the bucket or directory where it is missing. Raises Unavailable."""
        await self.run(self.storage.check)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
