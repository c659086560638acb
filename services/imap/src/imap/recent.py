"""Which messages are \\Recent for a session: the first one that is told of them (RFC 3501 §2.3.2).

SELECT claims in the store what no session was told of. What arrives while sessions look is the first one's of this
process, without a call: another process may tell of it too, as it can't know (the RFC's "SHOULD be considered recent").
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from mail_runtime.contracts.errors import NotFound, StoreError
from mail_runtime.contracts.store import Mailbox
from mail_runtime.store_client import StoreClient

# Of which it is known here what they were told: what is forgotten is asked for again.
KNOWN_MAILBOXES: Final = 20_000


class Recents:
    """Of all sessions of the process."""

    def __init__(self, store: StoreClient) -> None:
        self._store = store
        self._told: OrderedDict[UUID, int] = OrderedDict()

    def told(self, mailbox: Mailbox) -> int:
        """Up to this uid some session was told of the messages, as far as is known here."""
        return max(self._told.get(mailbox.id, 0), mailbox.recent_uid or 0)

    async def open(self, account_id: UUID, mailbox: Mailbox, last_uid: int) -> int:
        """A session is told of all up to `last_uid`; those above the uid that is returned are \\Recent for it.

        Where the store doesn't answer others may be told so once more.
        """
        told = self.told(mailbox)
        if told >= last_uid:
            return last_uid
        self._note(mailbox.id, last_uid)  # at once: no other session of the process is told the same
        try:
            return max(told, await self._store.claim_recent(account_id, mailbox.id, last_uid))
        except StoreError:
            return told

    def arrived(self, mailbox: Mailbox, last_uid: int) -> int:
        """As `open`, of messages that a session hears of while it has the mailbox open."""
        told = self.told(mailbox)
        if told < last_uid:
            self._note(mailbox.id, last_uid)
        return told

    async def count(self, account_id: UUID, mailboxes: Sequence[Mailbox]) -> dict[UUID, int]:
        """How many messages of each no session was told of. Raises Unavailable."""
        try:
            return await self._count(account_id, mailboxes)
        except NotFound:
            return {}  # a store of the release before

    async def _count(self, account_id: UUID, mailboxes: Sequence[Mailbox]) -> dict[UUID, int]:
        wanted = [one for one in mailboxes if has_recent(one) and self.told(one) < one.uid_next - 1]
        for mailbox in wanted:
            if (told := self.told(mailbox)) > (mailbox.recent_uid or 0):
                await self._store.claim_recent(account_id, mailbox.id, told)
        return await self._store.recent(account_id, [one.id for one in wanted]) if wanted else {}

    def _note(self, mailbox_id: UUID, uid: int) -> None:
        self._told[mailbox_id] = uid
        self._told.move_to_end(mailbox_id)
        if len(self._told) > KNOWN_MAILBOXES:
            self._told.popitem(last=False)


def has_recent(mailbox: Mailbox) -> bool:
    """Whether messages of it may be \\Recent: not those of another's, nor with a store of the release before."""
    return mailbox.owner_id is None and mailbox.recent_uid is not None
