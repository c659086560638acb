"""Mailboxes that sessions of this process have open: each is read once, and brought up to date once for all of them."""

from __future__ import annotations

import asyncio
from array import array
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar
from uuid import UUID

import msgspec

from imap.objects import KnownObjects
from imap.watches import Hearing, Watches
from mail_proto.imap.mailbox_columns import MailboxColumns, Rows
from mail_proto.imap.view import View
from mail_runtime.contracts.errors import NotFound, NotPermitted
from mail_runtime.contracts.store import Columns, Expunge, Expunged, FlagsStored, Mailbox, StoreFlags
from mail_runtime.contracts.store.columns import flag_column, word_column
from mail_runtime.contracts.store.uids import joined
from mail_runtime.store_client import StoreClient

Changed = TypeVar("Changed", FlagsStored, Expunged)

# Mailboxes that nobody has open, kept for whoever opens them next; the ones used last.
KEPT_OCTETS: Final = 32 * 1024 * 1024


class SharedMailbox:
    """One mailbox: its columns, and how they are kept current. Of one event loop."""

    def __init__(self, store: StoreClient, watches: Watches, account_id: UUID, mailbox_id: UUID) -> None:
        self._store, self._watches, self._account_id, self._mailbox_id = store, watches, account_id, mailbox_id
        self._hearing: Hearing | None = None
        self._columns: MailboxColumns | None = None
        self._mailbox: Mailbox | None = None
        self._reading = asyncio.Lock()
        # Questions, and those that are answered: whoever asks while one waits to be read is served by it too.
        self._asked = self._answered = 0
        self.objects = KnownObjects()

    @property
    def columns(self) -> MailboxColumns:
        assert self._columns is not None, "after refresh"
        return self._columns

    @property
    def mailbox(self) -> Mailbox:
        """As it was when it was read last."""
        assert self._mailbox is not None, "after refresh"
        return self._mailbox

    @property
    def is_open(self) -> bool:
        return self._columns is not None and bool(self._columns.watchers)

    @property
    def memory_octets(self) -> int:
        return 0 if self._columns is None else self._columns.memory_octets

    async def refresh(self) -> None:
        """Everything that was committed before the call is known after it. Raises NotFound, NotPermitted: it is
        another's, and may not be read any more. Unavailable."""
        self._asked += 1
        asked = self._asked
        async with self._reading:
            if self._answered >= asked:
                return
            answers = self._asked
            since = 0 if self._columns is None else self._columns.modseq
            hearing = self._watches.hearing(self._account_id)
            self._take(await self._store.columns(self._account_id, self._mailbox_id, since))
            self._hearing = hearing
            self._answered = answers

    async def is_current(self, is_proven: Callable[[], Awaitable[bool]]) -> bool:
        """Whether everything is known that was heard of, where `is_proven` says that this is all that there is."""
        if self._mailbox is None or self._mailbox.owner_id is not None:
            return False
        return await is_proven() and self._hearing is not None and self._seems_current(self._hearing)

    def _seems_current(self, hearing: Hearing) -> bool:
        return self._watches.is_unchanged(self._account_id, hearing, self._mailbox_id, self.columns.modseq)

    async def store_flags(self, change: StoreFlags) -> FlagsStored:
        """What changed up to then is known after it. Raises NotFound, NotPermitted, Refused, Unavailable."""
        elsewhere = self.mailbox.owner_id is not None

        def ask(seen: int) -> Awaitable[FlagsStored]:
            wanted = msgspec.structs.replace(change, seen=seen)
            return self._store.store_flags(self._account_id, self._mailbox_id, wanted, elsewhere=elsewhere)

        return await self._change(ask)

    async def expunge(self, expunge: Expunge) -> Expunged:
        """What changed up to then is known after it. Raises as `store_flags`."""

        def ask(seen: int) -> Awaitable[Expunged]:
            wanted = msgspec.structs.replace(expunge, seen=seen)
            return self._store.expunge(self._account_id, self._mailbox_id, wanted)

        return await self._change(ask)

    async def _change(self, ask: Callable[[int], Awaitable[Changed]]) -> Changed:
        """Nobody reads the mailbox meanwhile, so that the answer is what comes next."""
        async with self._reading:
            changed = await ask(max(1, self.columns.modseq))
            if changed.changes is not None:
                self._take(changed.changes)
        if changed.changes is None:  # another's mailbox, or a store of the release before
            await self.refresh()
        return changed

    def _take(self, columns: Columns) -> None:
        rows, modseq = _rows(columns), columns.mailbox.highest_modseq
        self._mailbox = columns.mailbox
        if self._columns is None:
            self._columns = MailboxColumns(rows, modseq)
            return
        removed: Sequence[int]
        if columns.is_whole:
            removed = sorted(set(self._columns.uids) - set(rows.uids))
        else:
            removed = [uid for first, last in joined(columns.expunged) for uid in range(first, last + 1)]
        self._columns.absorb(rows, removed, modseq)


def _rows(columns: Columns) -> Rows:
    # Arrays of the kind that is kept: no number becomes an object, and those of a whole mailbox are kept as they are.
    return Rows(
        array("I", word_column(columns, 0)),
        word_column(columns, 1),
        word_column(columns, 2, is_signed=True),
        word_column(columns, 3),
        word_column(columns, 4),
        word_column(columns, 5),
        flag_column(columns),
        columns.flag_sets,
    )


class Views:
    """All of the process."""

    def __init__(self, store: StoreClient, watches: Watches) -> None:
        self._store, self._watches = store, watches
        self._shared: OrderedDict[tuple[UUID, UUID], SharedMailbox] = OrderedDict()

    async def open(
        self, account_id: UUID, mailbox_id: UUID, is_proven: Callable[[], Awaitable[bool]]
    ) -> tuple[SharedMailbox, View]:
        """A view of the mailbox as it is now; `close` it. Raises NotFound, NotPermitted, Unavailable.

        It isn't read where `is_proven` says that all was heard that there is, and it is up to date with that.
        Another's mailbox is read with the rights of the account, and shared with its other sessions only.
        """
        key = (account_id, mailbox_id)
        shared = self._shared.setdefault(key, SharedMailbox(self._store, self._watches, account_id, mailbox_id))
        self._shared.move_to_end(key)
        try:
            if not await shared.is_current(is_proven):
                await shared.refresh()
        except (NotFound, NotPermitted):
            self._shared.pop(key, None)
            raise
        return shared, View(shared.columns)

    def close(self, mailbox: SharedMailbox, view: View) -> None:
        """The session looks at it no more."""
        view.close()
        if mailbox.is_open:
            return
        mailbox.objects = KnownObjects()  # they are large, and few clients ask for them
        kept = sum(shared.memory_octets for shared in self._shared.values())
        for key, shared in list(self._shared.items()):
            if kept <= KEPT_OCTETS:
                break
            if not shared.is_open:
                kept -= shared.memory_octets
                del self._shared[key]
