"""A new password for an account."""

from __future__ import annotations

from uuid import UUID

from mail_runtime.contracts.errors import NotFound, Refused
from store_api.accounts.passwords import Passwords, check_strength
from store_api.audit.audit import record
from store_api.db.engine import Database, run


async def change_password(
    database: Database, passwords: Passwords, actor: str, account_id: UUID, new: str, current: str | None
) -> None:
    """Replace hash and SCRAM verifier, under the salt that the account's app passwords share.

    `current` None: whoever asks needn't know it. Raises NotFound; Refused: too weak, or `current` is wrong.
    """
    check_strength(new)
    async with database.transaction() as connection:
        row = (
            await run(
                connection,
                "SELECT address, domain_id, password_hash, scram_salt FROM account"
                " WHERE id = :id AND deleted_at IS NULL",
                id=account_id,
            )
        ).one_or_none()
    if row is None:
        raise NotFound("there is no such account")
    if current is not None and not await passwords.verify(row.password_hash, current):
        raise Refused("the current password is wrong")
    made = await passwords.make(new, row.scram_salt or passwords.salt(row.address))
    async with database.transaction() as connection:
        await run(
            connection,
            "UPDATE account SET password_hash = :hash, scram_salt = :salt, scram_iterations = :iterations,"
            " scram_stored_key = :stored_key, scram_server_key = :server_key WHERE id = :id",
            id=account_id,
            hash=made.hash,
            salt=made.salt,
            iterations=made.iterations,
            stored_key=made.verifier and made.verifier.stored_key,
            server_key=made.verifier and made.verifier.server_key,
        )
        await record(connection, actor, "account.change_password", row.address, row.domain_id)
