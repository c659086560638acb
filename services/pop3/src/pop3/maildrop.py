"""The open maildrop of one session: read from, closed in one transaction."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final
from uuid import UUID

from mail_proto.pop3.maildrop import Entry, Maildrop
from mail_runtime.contracts.store import CloseMaildrop, StoreFlags
from pop3.ahead import ReadAhead
from pop3.large import read_large
from pop3.shared import Shared

# Larger messages are passed on in pieces, and never are in memory as a whole.
WHOLE_OCTETS: Final = 256 * 1024
# Messages whose \Seen waits for the next call; a process that dies forgets at most these. Most clients delete what they
# have retrieved: then nothing is told of it at all.
MAX_UNTOLD: Final = 500


class OpenedMaildrop:
    """Made by `pop3.opening`; used by one connection. `retention_days` None: messages are kept for ever."""

    def __init__(
        self,
        shared: Shared,
        account_id: UUID,
        mailbox_id: UUID,
        owner: UUID | None,
        messages: Maildrop,
        days: int | None,
    ) -> None:
        self._store, self._locks = shared.store, shared.locks
        self._account_id, self._mailbox_id, self._owner = account_id, mailbox_id, owner
        self.messages, self.retention_days = messages, days
        self._ahead = ReadAhead(shared.store, account_id, mailbox_id, messages, WHOLE_OCTETS, shared.ahead)
        self._seen: set[int] = set()

    async def read(self, msg: int, entry: Entry) -> AsyncGenerator[bytes, None]:
        """The message in pieces, the first of which holds all of a small one.

        Raises NoSuchMessage: another session removed it. Unavailable: also in the middle.
        """
        if entry.octets <= WHOLE_OCTETS:
            yield await self._ahead.take(msg, entry)
            return
        async with aclosing(read_large(self._store, self._account_id, self._mailbox_id, entry)) as pieces:
            async for piece in pieces:
                yield piece

    async def note_seen(self, uid: int) -> None:
        """Set \\Seen, with the next call at the latest."""
        self._seen.add(uid)
        if len(self._seen) >= MAX_UNTOLD:
            told, self._seen = self._seen, set()
            change = StoreFlags(uids=sorted(told), operation="add", flags=["\\Seen"])
            await self._store.store_flags(self._account_id, self._mailbox_id, change)

    async def close(self, remove: list[int] | None = None) -> None:
        """Tell what was seen, remove, give the lock back: all or nothing. Call it once.

        Raises Conflict: another session has the lock, nothing was done. Unavailable: it may have been done.
        """
        self._ahead.close()
        if self._owner is not None:
            self._locks.release(self._owner)
        doomed = remove or []
        seen = sorted(self._seen.difference(doomed))
        if self._owner is None and not seen and not doomed:
            return
        wanted = CloseMaildrop(mailbox_id=self._mailbox_id, owner=self._owner, seen=seen, remove=doomed)
        await self._store.close_maildrop(self._account_id, wanted)
