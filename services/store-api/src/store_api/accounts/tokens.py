"""API tokens: random secrets that act for the system's admin, a domain's, or one account.

A token has 256 random bits, so one round of SHA-256 keeps it: there is nothing to guess that argon2 would slow down.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from mail_runtime.contracts.errors import NotFound
from store_api.audit import audit
from store_api.db.engine import Database, run
from store_api.db.ids import uuid7

Scope = Literal["admin", "domain", "account"]

# So that scanners of leaked secrets, and people, know one when they see it.
PREFIX: Final = "postroom_"
TOKEN_OCTETS: Final = 32
# `last_used_at` is no finer than this, so that a busy token doesn't cost a write per call.
USED_EVERY_S: Final = 60.0

_COLUMNS: Final = (
    "t.id, t.name, t.scope, d.name AS domain, a.address AS account, t.created_at, t.expires_at, t.last_used_at"
)


@dataclass(frozen=True, slots=True)
class Holder:
    """For whom a token acts. An account's has its domain as well."""

    scope: Scope
    domain_id: UUID | None = None
    account_id: UUID | None = None


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


async def create_token(
    database: Database, actor: str, holder: Holder, name: str, expires_at: datetime | None
) -> tuple[UUID, str]:
    """Its id and the secret, which is not kept and can't be shown again."""
    token_id, secret = uuid7(), PREFIX + secrets.token_urlsafe(TOKEN_OCTETS)
    async with database.transaction() as connection:
        await run(
            connection,
            "INSERT INTO api_token (id, name, hash, scope, domain_id, account_id, expires_at)"
            " VALUES (:id, :name, :hash, :scope, :domain_id, :account_id, :expires_at)",
            id=token_id,
            name=name,
            hash=_hash(secret),
            scope=holder.scope,
            domain_id=holder.domain_id,
            account_id=holder.account_id,
            expires_at=expires_at,
        )
        await audit.record(
            connection, actor, "token.create", name, holder.domain_id, token_id=str(token_id), scope=holder.scope
        )
    return token_id, secret


_RESOLVE: Final = """
WITH found AS (
    SELECT t.id, t.name, t.scope, t.domain_id, t.account_id, t.last_used_at
    FROM api_token t LEFT JOIN account a ON a.id = t.account_id
    WHERE t.hash = :hash AND (t.expires_at IS NULL OR t.expires_at > now())
        AND (t.account_id IS NULL OR a.state = 'active')
), used AS (
    UPDATE api_token t SET last_used_at = now() FROM found
    WHERE t.id = found.id
        AND (found.last_used_at IS NULL OR found.last_used_at < now() - make_interval(secs => :used_every_s))
)
SELECT id, name, scope, domain_id, account_id FROM found
"""


async def find_holder(database: Database, secret: str) -> tuple[str, Holder] | None:
    """A name for logs and the holder of a valid token; None: unknown, expired, or its account is disabled."""
    if not secret.startswith(PREFIX):
        return None
    async with database.transaction() as connection:
        row = (await run(connection, _RESOLVE, hash=_hash(secret), used_every_s=USED_EVERY_S)).one_or_none()
    if row is None:
        return None
    return f"token {row.id} ({row.name})", Holder(row.scope, row.domain_id, row.account_id)


# Whom the caller may see: everything, its domain's (not the system's admin's), or its own.
_VISIBLE: Final = """
    (CAST(:domain_id AS uuid) IS NULL OR t.domain_id = :domain_id)
    AND (CAST(:account_id AS uuid) IS NULL OR t.account_id = :account_id)
"""
_LIST: Final = f"""
SELECT t.id, t.name, t.scope, d.name AS domain, a.address AS account, t.created_at, t.expires_at, t.last_used_at
FROM api_token t LEFT JOIN domain d ON d.id = t.domain_id LEFT JOIN account a ON a.id = t.account_id
WHERE {_VISIBLE} AND (CAST(:after AS uuid) IS NULL OR t.id > :after)
    AND (CAST(:id AS uuid) IS NULL OR t.id = :id)
ORDER BY t.id LIMIT :limit
"""


async def list_tokens(
    database: Database, viewer: Holder, *, after: UUID | None = None, token_id: UUID | None = None, limit: int = 1
) -> list[Any]:
    """Rows (id, name, scope, domain, account, created_at, expires_at, last_used_at) that `viewer` may see, by id."""
    async with database.transaction() as connection:
        return list(
            await run(
                connection,
                _LIST,
                domain_id=viewer.domain_id,
                account_id=viewer.account_id,
                after=after,
                id=token_id,
                limit=limit,
            )
        )


async def revoke_token(database: Database, actor: str, viewer: Holder, token_id: UUID) -> None:
    """It stops working at once, everywhere. Raises NotFound: there is none that `viewer` may see."""
    async with database.transaction() as connection:
        row = (
            await run(
                connection,
                f"DELETE FROM api_token t WHERE t.id = :id AND {_VISIBLE} RETURNING t.name, t.domain_id",
                id=token_id,
                domain_id=viewer.domain_id,
                account_id=viewer.account_id,
            )
        ).one_or_none()
        if row is None:
            raise NotFound("there is no such token")
        await audit.record(connection, actor, "token.revoke", row.name, row.domain_id, token_id=str(token_id))
