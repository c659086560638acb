"""A new password for an account."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from mail_runtime.contracts.errors import NotFound
from store_api.accounts.passwords import SCRAM_ITERATIONS, Passwords, check_strength
from store_api.audit import audit
from store_api.db.engine import Database, run

# The salt stays: the verifiers of the app passwords were made with it.
_CHANGE: Final = """
UPDATE account SET password_hash = :hash, scram_salt = :salt, scram_iterations = :iterations,
    scram_stored_key = :stored_key, scram_server_key = :server_key
WHERE id = :id AND (scram_salt IS NULL OR (scram_salt = :salt AND scram_iterations = :iterations))
RETURNING address, domain_id
"""


async def change_password(database: Database, passwords: Passwords, actor: str, account_id: UUID, new: str) -> None:
    """Logins with the former one fail from the commit on, on every replica; app passwords and tokens stay.

    Raises Refused: it is too weak. NotFound. Unavailable.
    """
    check_strength(new)
    async with database.transaction() as connection:
        sql = "SELECT address, scram_salt, scram_iterations FROM account WHERE id = :id AND deleted_at IS NULL"
        row = (await run(connection, sql, id=account_id)).one_or_none()
    if row is None:
        raise NotFound("there is no such account")
    made = await passwords.make(
        new, row.scram_salt or passwords.salt(row.address), row.scram_iterations or SCRAM_ITERATIONS
    )
    async with database.transaction() as connection:
        changed = await run(
            connection,
            _CHANGE,
            id=account_id,
            hash=made.hash,
            salt=made.salt,
            iterations=made.iterations,
            stored_key=made.verifier and made.verifier.stored_key,
            server_key=made.verifier and made.verifier.server_key,
        )
        account = changed.one_or_none()
        if account is None:
            raise NotFound("there is no such account")
        await audit.record(connection, actor, "account.change_password", account.address, account.domain_id)
