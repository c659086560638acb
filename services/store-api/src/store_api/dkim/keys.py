"""The DKIM keys of a domain: made, activated, retired (RFC 6376 §3.1).

A key is `new` until its record is in DNS, then `active`: mail is signed with every active key. A rotation activates a
new one, which retires the others of its algorithm; their records stay in DNS while mail signed by them is under way.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_proto.dkim import Algorithm
from mail_runtime.contracts.errors import Conflict, NotFound, Refused
from store_api.blobs.keyring import Keyring
from store_api.db.engine import Database, run
from store_api.db.ids import uuid7
from store_api.dkim.secrets import make, seal

# As many as rotations of two algorithms can need.
MAX_KEYS: Final = 20
# selector = sub-domain *( "." sub-domain ) (RFC 6376 §3.1); in lower case.
_SELECTOR: Final = re.compile(r"(?=.{1,63}\Z)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
_COLUMNS: Final = "selector, algorithm, state, public_key, created_at, activated_at, retired_at"

_INSERT: Final = """
INSERT INTO dkim_key (id, domain_id, selector, algorithm, public_key, private_key, data_key, key_id)
VALUES (:id, :domain_id, :selector, :algorithm, :public_key, :private_key, :data_key, :key_id)
ON CONFLICT DO NOTHING RETURNING id
"""

_ACTIVATE: Final = """
UPDATE dkim_key SET
    state = CASE WHEN selector = :selector THEN 'active' ELSE 'retired' END,
    activated_at = CASE WHEN selector = :selector THEN now() ELSE activated_at END,
    retired_at = CASE WHEN selector = :selector THEN NULL ELSE now() END
WHERE domain_id = :domain_id
  AND (selector = :selector
       OR state = 'active' AND algorithm = (SELECT algorithm FROM dkim_key
                                            WHERE domain_id = :domain_id AND selector = :selector))
"""


async def create_key(
    database: Database, keyring: Keyring, domain_id: UUID, selector: str, algorithm: Algorithm
) -> None:
    """Make a key that isn't used yet. Raises Refused: no selector. Conflict: it exists, or there are too many."""
    if not _SELECTOR.fullmatch(selector):
        raise Refused(f"{selector!r} is no selector: letters, digits and hyphens, with dots between")
    key, public_key = await asyncio.to_thread(make, algorithm)
    identifier = uuid7()
    sealed = seal(keyring, identifier, key)
    async with database.transaction() as connection:
        await run(connection, "SELECT FROM domain WHERE id = :id FOR NO KEY UPDATE", id=domain_id)
        if len(await list_keys(connection, domain_id)) >= MAX_KEYS:
            raise Conflict(f"a domain has at most {MAX_KEYS} keys: delete old ones")
        inserted = await run(
            connection,
            _INSERT,
            id=identifier,
            domain_id=domain_id,
            selector=selector,
            algorithm=algorithm,
            public_key=public_key,
            private_key=sealed.octets,
            data_key=sealed.data_key,
            key_id=sealed.key_id,
        )
        if inserted.scalar() is None:
            raise Conflict(f"the selector {selector} exists already")


async def list_keys(connection: AsyncConnection, domain_id: UUID) -> list[Any]:
    """Rows without private keys, by age."""
    sql = f"SELECT {_COLUMNS} FROM dkim_key WHERE domain_id = :domain_id ORDER BY created_at, selector"
    return list(await run(connection, sql, domain_id=domain_id))


async def read_key(connection: AsyncConnection, domain_id: UUID, selector: str) -> Any:
    """One row without its private key. Raises NotFound."""
    sql = f"SELECT {_COLUMNS} FROM dkim_key WHERE domain_id = :domain_id AND selector = :selector"
    row = (await run(connection, sql, domain_id=domain_id, selector=selector.lower())).one_or_none()
    if row is None:
        raise NotFound(f"there is no DKIM key {selector}")
    return row


async def activate(connection: AsyncConnection, domain_id: UUID, selector: str) -> None:
    """Sign with this key from now on, and not any more with others of its algorithm. Raises NotFound."""
    await run(connection, "SELECT FROM domain WHERE id = :id FOR NO KEY UPDATE", id=domain_id)
    row = await read_key(connection, domain_id, selector)
    if row.state != "active":
        await run(connection, _ACTIVATE, domain_id=domain_id, selector=row.selector)


async def retire(connection: AsyncConnection, domain_id: UUID, selector: str) -> None:
    """Sign with it no more. Raises NotFound."""
    row = await read_key(connection, domain_id, selector)
    await run(
        connection,
        "UPDATE dkim_key SET state = 'retired', retired_at = now()"
        " WHERE domain_id = :domain_id AND selector = :selector AND state <> 'retired'",
        domain_id=domain_id,
        selector=row.selector,
    )


async def delete_key(connection: AsyncConnection, domain_id: UUID, selector: str) -> None:
    """Raises NotFound. Conflict: it is active."""
    row = await read_key(connection, domain_id, selector)
    removed = await run(
        connection,
        "DELETE FROM dkim_key WHERE domain_id = :domain_id AND selector = :selector AND state <> 'active'",
        domain_id=domain_id,
        selector=row.selector,
    )
    if not removed.rowcount:
        raise Conflict(f"mail is signed with {selector}: activate another key, or retire it first")
