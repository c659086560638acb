"""Logins: by the account's password or an app password, as it is or as SCRAM proof; the same rules for each service."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID
from weakref import WeakValueDictionary

import structlog

from mail_proto.sasl import SaslFault, saslprep
from mail_proto.sasl.scram import Verifier
from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import AuthenticationFailed, TooManyLogins
from store_api.accounts import guard
from store_api.accounts.issuers import Issuers
from store_api.accounts.metrics import LOGINS
from store_api.accounts.passwords import SCRAM_ITERATIONS, Passwords
from store_api.db.engine import Database, run
from store_api.events.outbox import Event, record

log = structlog.get_logger()

# RFC 5321 §4.5.3.1: 64 for the local part, @, 255 for the domain.
MAX_LOGIN_LENGTH: Final = 320
# `last_used_at` of an app password is no finer than this.
USED_EVERY_S: Final = 60.0

# Stands for names that can't be an account's.
NOBODY: Final = "?"

_KNOWN: Final = """
SELECT a.id, a.address, a.domain_id, a.sets_quotas, a.password_hash, a.scram_salt, a.scram_iterations,
    a.scram_stored_key, a.scram_server_key, n.network IS NOT NULL AS is_known,
    coalesce(n.last_at > now() - make_interval(secs => :known_every_s), false) AS is_fresh, p.apps
FROM account a
LEFT JOIN login_network n ON n.account_id = a.id AND n.network = :network
    AND n.last_at > now() - make_interval(secs => :known_for_s)
LEFT JOIN LATERAL (
    SELECT array_agg(ROW (p.id, p.hash, p.scram_stored_key, p.scram_server_key,
        coalesce(p.last_used_at > now() - make_interval(secs => :used_every_s), false))) AS apps
    FROM app_password p WHERE p.account_id = a.id AND :service = ANY (p.scopes)
) p ON true
WHERE a.address = :login AND a.state = 'active'
"""


@dataclass(frozen=True, slots=True)
class AppPassword:
    """One that may be used for the service that is asked for."""

    id: UUID
    hash: bytes = field(repr=False)
    verifier: Verifier
    was_used_lately: bool


@dataclass(frozen=True, slots=True)
class _Login:
    """Who wants to log in where; `row` is None: there is no such account, or it is disabled."""

    name: str
    service: wire.Protocol
    peer: str
    row: Any
    attempt: guard.Attempt

    @property
    def apps(self) -> list[AppPassword]:
        found = self.row.apps if self.row is not None and self.row.apps is not None else []
        return [AppPassword(id, hash, Verifier(stored, server), used) for id, hash, stored, server, used in found]

    @property
    def verifier(self) -> Verifier | None:
        if self.row is None or self.row.scram_stored_key is None:
            return None
        return Verifier(self.row.scram_stored_key, self.row.scram_server_key)


class Logins:
    """Safe for concurrent use."""

    def __init__(self, database: Database, passwords: Passwords, issuers: Issuers) -> None:
        self._database, self._passwords, self._issuers = database, passwords, issuers
        self._turns: WeakValueDictionary[tuple[str, bytes], asyncio.Lock] = WeakValueDictionary()

    async def authenticate(self, login: str, password: str, service: wire.Protocol, peer: str) -> wire.Principal:
        """Check a name and password; `peer` is the client's IP address.

        Raises AuthenticationFailed: wrong name, wrong password, an app password of other services, or disabled,
        without saying which. TooManyLogins: nothing was checked. Unavailable.
        """
        found = await self._find(login, service, peer)
        for app in found.apps:
            if hmac.compare_digest(app.hash, app_password_hash(password)):
                return await self._succeed(found, "app_password", app=app)
        return await self._by_own_password(found, password)

    async def check_own_password(self, login: str, password: str, service: wire.Protocol, peer: str) -> None:
        """As `authenticate`, for what an app password doesn't open: a new password."""
        await self._by_own_password(await self._find(login, service, peer), password)

    async def _by_own_password(self, found: _Login, password: str) -> wire.Principal:
        self._require_patience(found)
        stored = None if found.row is None else found.row.password_hash
        async with self._turn(found, password):
            if stored is not None and self._passwords.remembers(stored, password):
                return await self._succeed(found, "remembered")
            await self._count(found)
            if not await self._passwords.verify(stored, password):
                raise await self._fail(found)
            principal = await self._succeed(found, "password", was_counted=True)
            await self._modernise(found, password)
            return principal

    def _turn(self, found: _Login, password: str) -> asyncio.Lock:
        """One check at a time of the same password for the same account.

        A client that opens ten connections at once would be counted ten times before the first is found to be right.
        """
        key = found.name, app_password_hash(password)
        lock = self._turns.get(key)
        if lock is None:
            lock = self._turns[key] = asyncio.Lock()
        return lock

    async def scram_start(self, login: str) -> wire.ScramChallenge:
        """Salt and iteration count. A name without account gets some too, always the same ones."""
        name = login_name(login)
        async with self._database.transaction() as connection:
            row = (
                await run(
                    connection,
                    "SELECT scram_salt, scram_iterations FROM account WHERE address = :name"
                    " AND state = 'active' AND scram_salt IS NOT NULL",
                    name=name,
                )
            ).one_or_none()
        if row is None:
            return wire.ScramChallenge(salt=self._passwords.salt(name), iterations=SCRAM_ITERATIONS)
        return wire.ScramChallenge(salt=row.scram_salt, iterations=row.scram_iterations)

    async def scram_finish(
        self, login: str, auth_message: bytes, proof: bytes, service: wire.Protocol, peer: str
    ) -> wire.ScramFinished:
        """Try the proof against the account's verifiers (RFC 5802 §3). Raises as `authenticate`."""
        found = await self._find(login, service, peer)
        for app in found.apps:
            if (signature := app.verifier.check(auth_message, proof)) is not None:
                return wire.ScramFinished(await self._succeed(found, "app_password", app=app), signature)
        self._require_patience(found)
        verifier = found.verifier or Verifier(bytes(32), bytes(32))
        signature = verifier.check(auth_message, proof)
        if found.verifier is None:
            signature = None
        # In one transaction: of ten right proofs at once none counts for the others.
        await self._count(found, is_right=signature is not None)
        if signature is None:
            raise await self._fail(found)
        return wire.ScramFinished(await self._succeed(found, "scram"), signature)

    async def authenticate_token(self, login: str, token: str, service: wire.Protocol, peer: str) -> wire.Principal:
        """Check a bearer token; it names the account. Nothing of it can be guessed, so nothing is counted.

        Raises AuthenticationFailed: not valid, of nobody here, or of somebody else than `login`. Unavailable.
        """
        found = await self._find(await self._issuers.address(token), service, peer)
        if found.row is None or (login and login_name(login) != found.name):
            raise await self._fail(found)
        return await self._succeed(found, "token")

    async def _find(self, login: str, service: wire.Protocol, peer: str) -> _Login:
        name, network = login_name(login), guard.network_of(peer)
        async with self._database.transaction() as connection:
            row = (
                await run(
                    connection,
                    _KNOWN,
                    login=name,
                    network=network,
                    service=service,
                    known_for_s=guard.KNOWN_FOR_S,
                    known_every_s=guard.KNOWN_EVERY_S,
                    used_every_s=USED_EVERY_S,
                )
            ).one_or_none()
            is_known = row is not None and row.is_known
            attempt = await guard.look(connection, name, network, is_known=is_known)
        return _Login(name, service, peer, row, attempt)

    def _require_patience(self, found: _Login) -> None:
        try:
            guard.require_patience(found.attempt.wait_s)
        except TooManyLogins:
            LOGINS.labels(found.service, "blocked").inc()
            raise

    async def _count(self, found: _Login, *, is_right: bool = False) -> None:
        """Count it as failed. `is_right`: it is known already, and taken back at once if it may be told.

        Raises TooManyLogins.
        """
        try:
            async with self._database.transaction() as connection:
                await guard.count(connection, found.attempt)
                if is_right:
                    await guard.take_back(connection, found.attempt)
        except TooManyLogins:
            LOGINS.labels(found.service, "blocked").inc()
            raise

    async def _fail(self, found: _Login) -> AuthenticationFailed:
        LOGINS.labels(found.service, "failed").inc()
        content = {"service": found.service, "peer": found.peer}
        if (row := found.row) is None:  # a name that isn't ours may be a password in the wrong field
            event = Event("login.failed", content)
        else:
            event = Event("login.failed", {**content, "login": row.address}, row.domain_id, row.id)
        async with self._database.transaction() as connection:
            await record(connection, [event])
        return AuthenticationFailed("the name or the password is wrong")

    async def _succeed(
        self, found: _Login, how: str, *, was_counted: bool = False, app: AppPassword | None = None
    ) -> wire.Principal:
        """Nothing is written when the same client comes back every few seconds."""
        LOGINS.labels(found.service, how).inc()
        row = found.row
        is_app_due = app is not None and not app.was_used_lately
        if was_counted or is_app_due or not row.is_fresh:
            async with self._database.transaction() as connection:
                if was_counted:
                    await guard.take_back(connection, found.attempt)
                if not row.is_fresh:
                    await guard.remember_network(connection, row.id, found.attempt.network)
                if app is not None and is_app_due:
                    await run(connection, "UPDATE app_password SET last_used_at = now() WHERE id = :id", id=app.id)
        return wire.Principal(
            account_id=row.id,
            address=row.address,
            addresses=[row.address],
            domain_id=row.domain_id,
            sets_quotas=row.sets_quotas,
        )

    async def _modernise(self, found: _Login, password: str) -> None:
        """Make the verifier that accounts of former versions lack, and a hash anew whose parameters are weak by now."""
        row = found.row
        if row.scram_stored_key is not None and not self._passwords.is_outdated(row.password_hash):
            return
        salt = row.scram_salt or self._passwords.salt(row.address)
        made = await self._passwords.make(password, salt, row.scram_iterations or SCRAM_ITERATIONS)
        if made.verifier is None and not self._passwords.is_outdated(row.password_hash):
            return
        async with self._database.transaction() as connection:
            await run(
                connection,
                "UPDATE account SET password_hash = :hash, scram_salt = :salt, scram_iterations = :iterations,"
                " scram_stored_key = :stored_key, scram_server_key = :server_key"
                " WHERE id = :id AND password_hash = :seen AND (scram_salt IS NULL OR scram_salt = :salt)",
                id=row.id,
                seen=row.password_hash,
                hash=made.hash,
                salt=made.salt,
                iterations=made.iterations,
                stored_key=made.verifier and made.verifier.stored_key,
                server_key=made.verifier and made.verifier.server_key,
            )


def login_name(login: str) -> str:
    """The name as it is looked up: prepared (RFC 4013), in lower case, of bounded length."""
    try:
        name = saslprep(login)
    except SaslFault:
        name = ""
    return name.lower()[:MAX_LOGIN_LENGTH] or NOBODY


def app_password_hash(password: str) -> bytes:
    """App passwords are random, so one round of SHA-256 keeps them."""
    return hashlib.sha256(password.encode("utf-8", "surrogatepass")).digest()
