"""Passwords: argon2id hashes, checked in few threads, remembered for as long as the hash stands."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from store_api.db.ids import uuid7

# argon2-cffi's defaults follow RFC 9106 §4, second recommendation: 64 MiB each, so few at a time.
THREADS: Final = 2
REMEMBERED: Final = 10_000


class Passwords:
    """Safe for concurrent use."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._threads = ThreadPoolExecutor(THREADS, "argon2")
        self._secret = secrets.token_bytes(32)
        self._verified: OrderedDict[tuple[str, bytes], None] = OrderedDict()
        # Verified against when the account doesn't exist: both answers take equally long.
        self._decoy = self._hasher.hash(uuid7().hex)

    async def hash(self, password: str) -> str:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._hasher.hash, password)

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether the password is right. `stored` None: no such account."""
        digest = hmac.digest(self._secret, password.encode("utf-8", "surrogateescape"), hashlib.sha256)
        if stored is not None and (stored, digest) in self._verified:
            return True
        right = await asyncio.get_running_loop().run_in_executor(
            self._threads, self._check, stored or self._decoy, password
        )
        if not right or stored is None:
            return False
        self._verified[stored, digest] = None
        if len(self._verified) > REMEMBERED:
            self._verified.popitem(last=False)
        return True

    def _check(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError, UnicodeEncodeError):
            return False

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
