"""The mailboxes of accounts, kept as long as it is proven that nothing else was said of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from imap.watches import Hearing, Watches
from mail_runtime.contracts.store import Mailbox
from mail_runtime.store_client import StoreClient

# Of all accounts together, half a kilobyte each; and of one, whose list is read anew each time if it is longer.
KEPT_MAILBOXES: Final = 20_000
KEPT_OF_ONE: Final = 1_000


@dataclass(frozen=True, slots=True)
class _Read:
    mailboxes: Sequence[Mailbox]
    hearing: Hearing


class Lists:
    """Of all sessions of the process: without the mailboxes of others."""

    def __init__(self, store: StoreClient, watches: Watches) -> None:
        self._store, self._watches = store, watches
        self._kept: OrderedDict[UUID, _Read] = OrderedDict()
        self._number = 0

    async def read(self, account_id: UUID) -> Sequence[Mailbox]:
        """As they are now, INBOX first, then by name. Raises Unavailable."""
        hearing = self._watches.hearing(account_id)
        mailboxes = await self._store.mailboxes(account_id)
        self._drop(account_id)
        if hearing is not None and len(mailboxes) <= KEPT_OF_ONE:
            self._kept[account_id] = _Read(mailboxes, hearing)
            self._number += len(mailboxes)
            while self._number > KEPT_MAILBOXES:
                self._drop(next(iter(self._kept)))
        return mailboxes

    def known(self, account_id: UUID) -> Sequence[Mailbox] | None:
        """Those that were read, if nothing was heard since of their names, ids and attributes: counters may be old."""
        read = self._kept.get(account_id)
        if read is None or not self._watches.is_same_list(account_id, read.hearing):
            return None
        self._kept.move_to_end(account_id)
        return read.mailboxes

    def is_counted(self, account_id: UUID, mailbox: Mailbox) -> bool:
        """Whether nothing was heard of messages since a mailbox was read that is `known`."""
        read = self._kept.get(account_id)
        return read is not None and self._watches.is_unchanged(
            account_id, read.hearing, mailbox.id, mailbox.highest_modseq
        )

    def _drop(self, account_id: UUID) -> None:
        if (read := self._kept.pop(account_id, None)) is not None:
            self._number -= len(read.mailboxes)
