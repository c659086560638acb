"""Passwords: argon2id hashes and SCRAM verifiers, made and checked in few threads.

What was verified is remembered for a while, so that a client that logs in every few seconds doesn't cost argon2 each
time: as an HMAC of the password under a key of this process, together with the stored hash. The hash is read anew with
each login, so a changed password is forgotten at once, on every replica.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from mail_proto.sasl import SaslFault, saslprep
from mail_proto.sasl.scram import Verifier, make_verifier
from mail_runtime.contracts.errors import Refused, Unavailable
from store_api.accounts.metrics import ARGON2_RUNS
from store_api.db.ids import uuid7

T = TypeVar("T")

# argon2-cffi's defaults follow RFC 9106 §4, second recommendation: 64 MiB each, so few at a time.
THREADS: Final = 2
# More than these are told to come again; with 2 threads they wait 2 s already.
MAX_WAITING: Final = 64
REMEMBERED: Final = 10_000
REMEMBERED_S: Final = 600.0
MIN_PASSWORD_LENGTH: Final = 8
# RFC 7677 §4 asks for 4,096 at least. A client pays for it once per login: 15 ms here, and in a stolen database
# a guess at a verifier costs half of what one at the argon2id hash does.
SCRAM_ITERATIONS: Final = 65_536
SCRAM_SALT_OCTETS: Final = 16


def check_strength(password: str) -> None:
    """Raises Refused."""
    if len(password) < MIN_PASSWORD_LENGTH:
        raise Refused(f"the password must have at least {MIN_PASSWORD_LENGTH} characters")


@dataclass(frozen=True, slots=True)
class Secrets:
    """What is kept of a password. Without `verifier` (SASLprep forbids the password) SCRAM can't be used with it."""

    hash: str = field(repr=False)
    salt: bytes
    iterations: int
    verifier: Verifier | None


class Passwords:
    """Safe for concurrent use. `secret` is shared by all replicas: salts are derived from it."""

    def __init__(self, secret: str) -> None:
        self._hasher = PasswordHasher()
        self._threads = ThreadPoolExecutor(THREADS, "argon2")
        self._waiting = 0
        self._salts = hmac.digest(secret.encode(), b"postroom scram salts", hashlib.sha256)
        self._key = secrets.token_bytes(32)
        self._verified: OrderedDict[tuple[str, bytes], float] = OrderedDict()
        # Verified against when the account doesn't exist: both answers take equally long.
        self._decoy = self._hasher.hash(uuid7().hex)

    def salt(self, login: str) -> bytes:
        """The salt of an account's verifiers. Names without account have one too, always the same (RFC 5802 §9)."""
        return hmac.digest(self._salts, login.encode("utf-8", "surrogateescape"), hashlib.sha256)[:SCRAM_SALT_OCTETS]

    async def make(self, password: str, salt: bytes, iterations: int = SCRAM_ITERATIONS) -> Secrets:
        """Raises Unavailable: too many logins at the moment."""
        return await self._in_thread(lambda: self._make(password, salt, iterations))

    def _make(self, password: str, salt: bytes, iterations: int) -> Secrets:
        ARGON2_RUNS.inc()
        try:
            verifier = make_verifier(password, salt, iterations)
        except SaslFault:
            verifier = None
        return Secrets(self._hasher.hash(_prepared(password)), salt, iterations, verifier)

    async def verifier(self, password: str, salt: bytes, iterations: int) -> Verifier:
        """Of a password that SASLprep leaves as it is. Raises Unavailable."""
        return await self._in_thread(lambda: make_verifier(password, salt, iterations))

    def remembers(self, stored: str, password: str) -> bool:
        """Whether this password was verified against this hash lately."""
        until = self._verified.get((stored, self._digest(password)))
        return until is not None and time.monotonic() < until

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether the password is right. `stored` None: no such account. Raises Unavailable."""
        if stored is not None and self.remembers(stored, password):
            return True
        right = await self._in_thread(lambda: self._check(stored or self._decoy, password))
        if not right or stored is None:
            return False
        self._verified[stored, self._digest(password)] = time.monotonic() + REMEMBERED_S
        self._verified.move_to_end((stored, self._digest(password)))
        if len(self._verified) > REMEMBERED:
            self._verified.popitem(last=False)
        return True

    def is_outdated(self, stored: str) -> bool:
        """Whether the hash was made with weaker parameters than today's."""
        return self._hasher.check_needs_rehash(stored)

    def _digest(self, password: str) -> bytes:
        return hmac.digest(self._key, password.encode("utf-8", "surrogatepass"), hashlib.sha256)

    def _check(self, stored: str, password: str) -> bool:
        # Hashes of former versions were made without SASLprep.
        for form in dict.fromkeys((_prepared(password), password)):
            ARGON2_RUNS.inc()
            try:
                return self._hasher.verify(stored, form)
            except (VerificationError, InvalidHashError, UnicodeEncodeError):
                continue
        return False

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._waiting >= MAX_WAITING:
            raise Unavailable("too many logins at the moment; try again later")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _prepared(password: str) -> str:
    try:
        return saslprep(password)
    except SaslFault:
        return password
