"""Accounts: who has mail here."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from mail_proto.addresses import AddressFault, parse_mailbox
from mail_runtime.contracts.errors import AuthenticationFailed, Conflict, NotFound, Refused
from mail_runtime.contracts.store import Credentials, Principal
from store_api.accounts.passwords import Passwords
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
MIN_PASSWORD_LENGTH: Final = 8


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
    if len(password) < MIN_PASSWORD_LENGTH:
        raise Refused(f"the password must have at least {MIN_PASSWORD_LENGTH} characters")
    address = str(parsed).lower()
    password_hash = await passwords.hash(password)
    async with database.transaction() as connection:
        domain_id = await hold_domain(connection, parsed.domain, only)
        alias = await run(connection, "SELECT 1 FROM alias WHERE address = :address", address=address)
        if alias.scalar() is not None:
            raise Conflict(f"{address} is an alias")
        account_id: UUID | None = (
            await run(
                connection,
                "INSERT INTO account (id, domain_id, address, password_hash)"
                " VALUES (:id, :domain_id, :address, :password_hash)"
                " ON CONFLICT (address) DO NOTHING RETURNING id",
                id=uuid7(),
                domain_id=domain_id,
                address=address,
                password_hash=password_hash,
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


async def authenticate(database: Database, passwords: Passwords, credentials: Credentials) -> Principal:
    """Raises AuthenticationFailed: wrong name, wrong password or disabled, without saying which."""
    async with database.transaction() as connection:
        row = (
            await run(
                connection,
                "SELECT id, address, password_hash FROM account WHERE address = :address AND state = 'active'",
                address=credentials.username.lower().replace("\0", ""),
            )
        ).one_or_none()
    if not await passwords.verify(row.password_hash if row else None, credentials.password) or row is None:
        raise AuthenticationFailed("the name or the password is wrong")
    return Principal(account_id=row.id, address=row.address, addresses=[row.address])
