"""Which thread a message belongs to: the one of the messages that it refers to (RFC 5256 §3, RFC 8474 §5.2).

The account remembers for each Message-ID that it has seen, or seen mentioned, which thread it belongs to. A message
joins the oldest thread that any of its own identifiers belongs to; those of its identifiers that are new go there too.
A message that shows two threads to be one joins the older one and takes all the identifiers that it names along, so
that its answers do too. Messages that are stored already keep their thread: THREADID is static (RFC 8474 §7).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from store_api.db.engine import fetch
from store_api.db.ids import uuid7

# Long discussions: the first reference names the thread, the last ones the branch.
MAX_REFERENCES: Final = 40
_HASH_OCTETS: Final = 16

_KNOWN: Final = """
SELECT account_id, reference, thread_id FROM thread_reference
WHERE (account_id, reference) IN (
    SELECT * FROM unnest(CAST(:accounts AS uuid[]), CAST(:references AS bytea[])))
"""

_REMEMBER: Final = """
INSERT INTO thread_reference (account_id, reference, thread_id)
SELECT * FROM unnest(CAST(:accounts AS uuid[]), CAST(:references AS bytea[]), CAST(:threads AS uuid[]))
ON CONFLICT (account_id, reference) DO UPDATE SET thread_id = excluded.thread_id
"""

Key = tuple[UUID, bytes]


def references(message_id: str, followed: Sequence[str]) -> tuple[bytes, ...]:
    """Hashes of a message's own identifier and of those that it follows (oldest first), without doubles."""
    wanted = list(dict.fromkeys(identifier for identifier in (*followed, message_id) if identifier))
    if len(wanted) > MAX_REFERENCES:
        wanted = [*wanted[: MAX_REFERENCES // 2], *wanted[-MAX_REFERENCES // 2 :]]
    return tuple(
        hashlib.sha256(identifier.encode("utf-8", "surrogatepass")).digest()[:_HASH_OCTETS] for identifier in wanted
    )


async def assign(connection: AsyncConnection, messages: Sequence[tuple[UUID, tuple[bytes, ...]]]) -> list[UUID]:
    """The thread of each message, given as (account, references), in order.

    The accounts' usage must be locked (`mailboxes.quota.lock_room`): so nobody else adds to their threads now.
    """
    keys = sorted({(account_id, reference) for account_id, found in messages for reference in found})
    if not keys:
        return [uuid7() for _ in messages]
    rows = await fetch(connection, _KNOWN, accounts=[a for a, _ in keys], references=[r for _, r in keys])
    known: dict[Key, UUID] = {(row.account_id, row.reference): row.thread_id for row in rows}
    forest = _Forest(known)
    threads = [forest.join(account_id, found) for account_id, found in messages]
    new = {key: forest.thread(key) for key in keys if known.get(key) != forest.thread(key)}
    if new:
        await fetch(
            connection,
            _REMEMBER,
            accounts=[account_id for account_id, _ in new],
            references=[reference for _, reference in new],
            threads=list(new.values()),
        )
    return [forest.root(thread) for thread in threads]


class _Forest:
    """The threads of a batch as they grow together; the oldest (UUIDv7) of those that do is kept."""

    def __init__(self, known: dict[Key, UUID]) -> None:
        self._of = dict(known)
        self._older: dict[UUID, UUID] = {}

    def root(self, thread: UUID) -> UUID:
        while (older := self._older.get(thread)) is not None:
            thread = older
        return thread

    def thread(self, key: Key) -> UUID:
        return self.root(self._of[key])

    def join(self, account_id: UUID, found: Sequence[bytes]) -> UUID:
        """The thread of a message, which all its references belong to from now on."""
        threads = {self.thread(key) for reference in found if (key := (account_id, reference)) in self._of}
        kept = min(threads, default=None) or uuid7()
        for other in threads - {kept}:
            self._older[other] = kept
        for reference in found:
            self._of.setdefault((account_id, reference), kept)
        return kept
