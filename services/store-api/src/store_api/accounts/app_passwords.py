"""App passwords: random, kept by a device instead of the account's own, for chosen services, revoked one by one."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from mail_runtime.contracts.errors import Conflict, NotFound
from mail_runtime.contracts.store import Protocol
from store_api.accounts.logins import app_password_hash
from store_api.accounts.passwords import SCRAM_ITERATIONS, Passwords
from store_api.audit import audit
from store_api.db.engine import Database, run

# Without 0, 1, l and o: people copy them by hand. 24 of them are 119 bits.
_ALPHABET: Final = "abcdefghijkmnpqrstuvwxyz23456789"
_GROUPS: Final = 4
_GROUP_LENGTH: Final = 6
# A SCRAM proof is tried against each: 50 cost 0.2 ms.
MAX_PER_ACCOUNT: Final = 50


def new_password() -> str:
    """As in `k3w9xm-…`: four groups of six."""
    groups = ("".join(secrets.choice(_ALPHABET) for _ in range(_GROUP_LENGTH)) for _ in range(_GROUPS))
    return "-".join(groups)


_CREATE: Final = """
INSERT INTO app_password (id, account_id, name, hash, scram_stored_key, scram_server_key, scopes)
VALUES (:id, :account_id, :name, :hash, :stored_key, :server_key, CAST(:scopes AS text[]))
"""


async def create_app_password(
    database: Database,
    passwords: Passwords,
    actor: str,
    account_id: UUID,
    app_id: UUID,
    name: str,
    scopes: Sequence[Protocol],
) -> str:
    """The password, which is not kept and can't be shown again. Raises Conflict: there are too many. NotFound."""
    async with database.transaction() as connection:
        row = (
            await run(
                connection,
                "SELECT address, scram_salt, scram_iterations FROM account WHERE id = :id",
                id=account_id,
            )
        ).one_or_none()
    if row is None:
        raise NotFound("there is no such account")
    password = new_password()
    salt, iterations = row.scram_salt or passwords.salt(row.address), row.scram_iterations or SCRAM_ITERATIONS
    verifier = await passwords.verifier(password, salt, iterations)
    async with database.transaction() as connection:
        # Accounts of former versions get their salt here. The row is held, so that nobody goes past the limit.
        held = await run(
            connection,
            "UPDATE account SET scram_salt = :salt, scram_iterations = :iterations"
            " WHERE id = :id AND (scram_salt IS NULL OR (scram_salt = :salt AND scram_iterations = :iterations))"
            " RETURNING domain_id, (SELECT count(*) FROM app_password WHERE account_id = :id) AS passwords",
            id=account_id,
            salt=salt,
            iterations=iterations,
        )
        account = held.one_or_none()
        if account is None:
            raise Conflict("the account is being changed; try again")
        if account.passwords >= MAX_PER_ACCOUNT:
            raise Conflict(f"an account has {MAX_PER_ACCOUNT} app passwords at most: revoke those that aren't used")
        await run(
            connection,
            _CREATE,
            id=app_id,
            account_id=account_id,
            name=name,
            hash=app_password_hash(password),
            stored_key=verifier.stored_key,
            server_key=verifier.server_key,
            scopes=list(scopes),
        )
        await audit.record(
            connection, actor, "app_password.create", row.address, account.domain_id, name=name, scopes=list(scopes)
        )
    return password


async def list_app_passwords(database: Database, account_id: UUID) -> list[Any]:
    """Rows (id, name, scopes, created_at, last_used_at), oldest first."""
    async with database.transaction() as connection:
        return list(
            await run(
                connection,
                "SELECT id, name, scopes, created_at, last_used_at FROM app_password"
                " WHERE account_id = :account_id ORDER BY id",
                account_id=account_id,
            )
        )


async def revoke_app_password(database: Database, actor: str, account_id: UUID, app_id: UUID) -> None:
    """It stops working at once, everywhere. Raises NotFound."""
    async with database.transaction() as connection:
        row = (
            await run(
                connection,
                "DELETE FROM app_password p USING account a WHERE p.id = :id AND p.account_id = :account_id"
                " AND a.id = p.account_id RETURNING p.name, a.address, a.domain_id",
                id=app_id,
                account_id=account_id,
            )
        ).one_or_none()
        if row is None:
            raise NotFound("there is no such app password")
        await audit.record(connection, actor, "app_password.revoke", row.address, row.domain_id, name=row.name)
