"""Accounts: who has mail here."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from mail_proto.addresses import AddressFault, parse_mailbox
from mail_runtime.contracts.errors import Conflict, NotFound, Refused
from store_api.accounts.passwords import Passwords, check_strength
from store_api.db.engine import Database, run
from store_api.db.ids import uuid7
from store_api.directory.aliases import hold_domain

# RFC 6154; the mailboxes that clients look for.
FIRST_MAILBOXES: Final = {
    "INBOX": None,
    "Archive": "\\Archive",
    "Drafts": "\\Drafts",
    "Junk": "\\Junk",
    "Sent": "\\Sent",
    "Trash": "\\Trash",
}


async def create_account(
    database: Database, passwords: Passwords, address: str, password: str, *, only: UUID | None = None
) -> UUID:
    """Create the account and its first mailboxes; in no other domain than that with the id `only`, where given.

    Raises Refused, Conflict.
    """
    try:
        parsed = parse_mailbox(address)
    except AddressFault as fault:
        raise Refused(f"{address!r} is not an address: {fault}") from fault
    check_strength(password)
    address = str(parsed).lower()
    made = await passwords.make(password, passwords.salt(address))
    async with database.transaction() as connection:
        domain_id = await hold_domain(connection, parsed.domain, only)
        alias = await run(connection, "SELECT 1 FROM alias WHERE address = :address", address=address)
        if alias.scalar() is not None:
            raise Conflict(f"{address} is an alias")
        account_id: UUID | None = (
            await run(
                connection,
                "INSERT INTO account (id, domain_id, address, password_hash,"
                " scram_salt, scram_iterations, scram_stored_key, scram_server_key)"
                " VALUES (:id, :domain_id, :address, :hash, :salt, :iterations, :stored_key, :server_key)"
                " ON CONFLICT (address) DO NOTHING RETURNING id",
                id=uuid7(),
                domain_id=domain_id,
                address=address,
                hash=made.hash,
                salt=made.salt,
                iterations=made.iterations,
                stored_key=made.verifier and made.verifier.stored_key,
                server_key=made.verifier and made.verifier.server_key,
            )
        ).scalar()
        if account_id is None:
            raise Conflict(f"the account {address} exists already")
        await run(
            connection,
            "INSERT INTO mailbox (account_id, id, name, special_use)"
            " SELECT :account_id, * FROM unnest(CAST(:ids AS uuid[]), CAST(:names AS text[]), CAST(:uses AS text[]))",
            account_id=account_id,
            ids=[uuid7() for _ in FIRST_MAILBOXES],
            names=list(FIRST_MAILBOXES),
            uses=list(FIRST_MAILBOXES.values()),
        )
    return account_id


async def find_account(
    database: Database, address: str, *, domain_id: UUID | None = None, account_id: UUID | None = None
) -> Any:
    """Row (id, address, domain_id, state, created_at); of that domain, with that id, where given. Raises NotFound."""
    async with database.transaction() as connection:
        row = (
            await run(
                connection,
                "SELECT id, address, domain_id, state, created_at FROM account WHERE address = :address"
                " AND (CAST(:domain_id AS uuid) IS NULL OR domain_id = :domain_id)"
                " AND (CAST(:account_id AS uuid) IS NULL OR id = :account_id)",
                address=address.lower(),
                domain_id=domain_id,
                account_id=account_id,
            )
        ).one_or_none()
    if row is None:
        raise NotFound(f"there is no account {address}")
    return row
