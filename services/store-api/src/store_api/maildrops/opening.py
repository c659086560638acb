"""Opening a maildrop: which mailbox, its lock, its messages as they are now (RFC 1939 §4)."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from mail_runtime.contracts.errors import NotFound
from mail_runtime.contracts.store import Maildrop, OpenMaildrop
from store_api.db.engine import Database, run
from store_api.maildrops.locks import take

# The name as it is written, or the only one that differs from it in case. Days as `mailboxes.retention` counts them.
_MESSAGES: Final = """
SELECT b.id, b.days, c.uids, c.sizes, c.blobs, c.emails
FROM (
    SELECT m.account_id, m.id, m.name = :name AS is_exact, count(*) OVER () AS found, nullif(coalesce(
        m.retention_days,
        CASE m.special_use WHEN '\\Trash' THEN d.trash_days WHEN '\\Junk' THEN d.junk_days END), 0) AS days
    FROM mailbox m JOIN account a ON a.id = m.account_id JOIN domain d ON d.id = a.domain_id
    WHERE m.account_id = :account_id AND (m.name = :name OR lower(m.name) = lower(:name))
    ORDER BY m.name <> :name LIMIT 1
) AS b
CROSS JOIN LATERAL (
    SELECT array_agg(uid) AS uids, array_agg(octets) AS sizes,
           array_agg(blob_id) AS blobs, array_agg(email_id) AS emails
    FROM (SELECT uid, octets, blob_id, email_id FROM message m
          WHERE m.account_id = b.account_id AND m.mailbox_id = b.id ORDER BY uid) AS m
) AS c
WHERE b.is_exact OR b.found = 1
"""


async def open_maildrop(database: Database, account_id: UUID, wanted: OpenMaildrop) -> Maildrop:
    """Lock and list. The lock comes first, in a statement of its own: what the session before removed isn't listed.

    Raises Conflict: another session has it. TooSoon. NotFound: no such mailbox.
    """
    async with database.transaction() as connection:
        await take(connection, account_id, wanted)
        row = (await run(connection, _MESSAGES, account_id=account_id, name=wanted.mailbox)).one_or_none()
        if row is None:
            raise NotFound("there is no such mailbox")
    return Maildrop(
        mailbox_id=row.id,
        uids=row.uids or [],
        octets=row.sizes or [],
        blob_ids=row.blobs or [],
        email_ids=row.emails or [],
        retention_days=row.days,
    )


async def split_login(database: Database, login: str) -> tuple[str, str | None]:
    """The login of the account, and the mailbox that the rest of the name asks for, or None.

    `alice+lists/dev@example.test` and `alice@example.test+lists/dev` name a mailbox, unless there is an account of
    that whole name. What can't be told from a wrong name stays whole.
    """
    if "+" not in login:
        return login, None
    async with database.transaction() as connection:
        known = await run(connection, "SELECT 1 FROM account WHERE address = :login", login=login.lower())
        if known.scalar() is not None:
            return login, None
    before, at, domain = login.rpartition("@")
    local, plus, mailbox = before.partition("+")
    if not at or not plus:
        domain, plus, mailbox = domain.partition("+")
        local = before
    if not plus or not mailbox or not local:
        return login, None
    return f"{local}@{domain}", mailbox
