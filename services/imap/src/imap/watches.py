"""Who watches which account: one subscription per account on NATS, however many sessions it has here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Final
from uuid import UUID

import msgspec
import structlog
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from mail_runtime.bus import Bus, BusUnavailable, Msg
from mail_runtime.contracts.subjects import UNTOLD, AccountChanged, MailboxChanged, account_subject, mailbox_subject
from mail_runtime.order import Echoes

log = structlog.get_logger()


MAX_UNHEARD: Final = 100
# What was read is trusted for so long without a look, however little is heard: a store may have lost NATS and not know.
TRUSTED_S: Final = 5.0
# After a connection to NATS: stores that lost theirs at the same time are back by then, and have said so.
SETTLING_S: Final = 3.0
# Mailboxes of an account that are remembered to have changed.
MAX_CHANGED: Final = 1_000
# Why a session ends, by what happened to its account.
_ENDS: Final = {
    "password": "the password was changed; log in again",
    "disabled": "the account was disabled",
    "deleted": "the account was deleted",
}


class Watch:
    """One session's interest: `changed` is set when its mailbox may have changed; `kick` is told why it must end.

    `owner_id`: whose mailbox it watches, if it is another's. `followed`: owners whose subscription it may have made.
    `hears_all`: it wants to know of all mailboxes, and of those of the owners `listened` to; `others_changed` says that
    there is something to know. A session isn't told of what it has changed itself while it was `making` the change.
    `annotated`: entries that changed, by mailbox, and aren't told yet; `own_annotations`: those that it changes itself.
    """

    def __init__(self, kick: Callable[[str], None] | None = None, account_id: UUID | None = None) -> None:
        self.account_id = account_id
        self.annotated: dict[UUID, set[str]] = {}
        self.own_annotations: set[tuple[UUID, str]] = set()
        self.mailbox_id: UUID | None = None
        self.owner_id: UUID | None = None
        self.followed: set[UUID] = set()
        self.listened: set[UUID] = set()
        self.hears_all = self.others_changed = False
        self.changed = asyncio.Event()
        self.kick = kick
        # Modseqs that the session has made, and is yet to be notified of; those that it is notified of meanwhile.
        self._made: set[int] = set()
        self._heard: list[int] | None = None

    def notified(self, modseq: int) -> None:
        """The mailbox is at `modseq`."""
        if self._heard is not None:
            self._heard.append(modseq)
        elif modseq in self._made:
            self._made.discard(modseq)
        else:
            self.changed.set()

    def annotations_changed(self, mailbox_id: UUID, change: MailboxChanged) -> None:
        """Keep what the account may know, and hasn't done itself."""
        if not self.hears_all or change.reader_id not in {None, self.account_id}:
            return
        entries = {entry for entry in change.entries if (mailbox_id, entry) not in self.own_annotations}
        self.own_annotations -= {(mailbox_id, entry) for entry in change.entries}
        if entries:
            self.annotated.setdefault(mailbox_id, set()).update(entries)
            self.others_changed = True
            self.changed.set()

    @contextmanager
    def annotating(self, mailbox_id: UUID, entries: Iterable[str]) -> Iterator[None]:
        """While the session changes annotations: it isn't told (RFC 5465 §5), even if the notification comes first."""
        if len(self.own_annotations) > MAX_UNHEARD:
            self.own_annotations.clear()
        own = {(mailbox_id, entry) for entry in entries} if self.hears_all else set()
        self.own_annotations |= own
        try:
            yield
        except BaseException:
            self.own_annotations -= own
            raise

    @contextmanager
    def making(self) -> Iterator[set[int]]:
        """While the session changes its mailbox: add the modseq that it makes, once everything up to it is known."""
        if len(self._made) > MAX_UNHEARD:
            self._made.clear()  # those notifications are lost; the others are only looked into in vain
        self._heard = []
        made: set[int] = set()
        try:
            yield made
        finally:
            self._made |= made
            heard, self._heard = self._heard, None
            for modseq in heard:
                self.notified(modseq)


@dataclass(frozen=True, slots=True)
class Hearing:
    """How much had been heard of an account when something was read.

    `serial`: of its subscription; `interruptions`: when something may have been missed; `lists`: changes of the list of
    mailboxes; `at`: time of the event loop.
    """

    serial: int
    interruptions: int
    lists: int
    at: float


_serials: Final = count()


class _Account:
    def __init__(self) -> None:
        self.serial = next(_serials)
        # `Watches.interruptions` at which it was proven that its notifications arrive.
        self.proven: int | None = None
        self.modseqs: dict[UUID, int] = {}
        self.lists = 0
        self.watches: set[Watch] = set()
        # Of sessions of other accounts that have a mailbox of this one selected.
        self.guests: set[Watch] = set()
        self.subscriptions: list[Subscription] = []
        self.subscribing = asyncio.Lock()


class Watches:
    """Notifications that are lost cost freshness only: sessions look for themselves as well."""

    def __init__(self, bus: Bus, settling_s: float = SETTLING_S) -> None:
        self._bus, self._echoes, self._settling_s = bus, Echoes(bus), settling_s
        self._accounts: dict[UUID, _Account] = {}
        self._untold = 0
        self._hears_untold = False
        self._settled_at = float("inf")
        bus.on_connect(self._connected)

    @property
    def is_live(self) -> bool:
        """Whether notifications arrive at present."""
        return self._bus.connected

    # Whether what was read is still so

    @property
    def _interruptions(self) -> int:
        return self._bus.interruptions + self._untold

    def hearing(self, account_id: UUID) -> Hearing | None:
        """To be kept with what is read from now on. None: it isn't proven that notifications arrive."""
        account = self._accounts.get(account_id)
        if account is None or account.proven != self._interruptions:
            return None
        return Hearing(account.serial, account.proven, account.lists, asyncio.get_running_loop().time())

    async def prove(self, account_id: UUID) -> bool:
        """Wait until all is heard of the account that was answered to anybody before this call. False: who knows."""
        account = self._accounts.get(account_id)
        now = asyncio.get_running_loop().time()
        if account is None or len(account.subscriptions) < 2 or not self._hears_untold or now < self._settled_at:
            return False
        interruptions = self._interruptions
        if not await self._echoes.heard() or self._interruptions != interruptions:
            return False
        account.proven = interruptions
        return not any(subscription.pending_msgs for subscription in account.subscriptions)

    def is_unchanged(self, account_id: UUID, since: Hearing, mailbox_id: UUID, modseq: int) -> bool:
        """Whether nothing was heard `since` that isn't in the mailbox as it is known at `modseq`."""
        account = self._accounts.get(account_id)
        return (
            account is not None
            and self.is_same_list(account_id, since)
            and account.modseqs.get(mailbox_id, 0) <= modseq
        )

    def is_same_list(self, account_id: UUID, since: Hearing) -> bool:
        """Whether nothing was heard `since` of which mailboxes the account has, and of their attributes."""
        account = self._accounts.get(account_id)
        return (
            account is not None
            and (since.serial, since.interruptions, since.lists) == (account.serial, self._interruptions, account.lists)
            and asyncio.get_running_loop().time() < since.at + TRUSTED_S
        )

    @contextmanager
    def watching(self, account_id: UUID, kick: Callable[[str], None]) -> Iterator[Watch]:
        """Watch an account while the block runs; call `subscribe` inside."""
        account = self._accounts.setdefault(account_id, _Account())
        watch = Watch(kick, account_id)
        account.watches.add(watch)
        try:
            yield watch
        finally:
            account.watches.discard(watch)

    async def follow(self, watch: Watch, owner_id: UUID) -> None:
        """Watch a mailbox of another account until `leave`; `release` the owner once the session ends."""
        self._accounts.setdefault(owner_id, _Account()).guests.add(watch)
        watch.owner_id = owner_id
        watch.followed.add(owner_id)
        await self.subscribe(owner_id)

    def leave(self, watch: Watch) -> None:
        """The session has no other's mailbox selected any more."""
        owner_id, watch.owner_id = watch.owner_id, None
        if owner_id is not None:
            self._leave(watch, owner_id)

    async def listen(self, watch: Watch, owner_ids: set[UUID]) -> None:
        """Hear of the mailboxes of these other accounts, and of no more."""
        former, watch.listened = watch.listened - owner_ids, set(owner_ids)
        for owner_id in former:
            self._leave(watch, owner_id)
        for owner_id in owner_ids:
            self._accounts.setdefault(owner_id, _Account()).guests.add(watch)
            watch.followed.add(owner_id)
            await self.subscribe(owner_id)

    def _leave(self, watch: Watch, owner_id: UUID) -> None:
        if owner_id == watch.owner_id or owner_id in watch.listened:
            return
        if (account := self._accounts.get(owner_id)) is not None:
            account.guests.discard(watch)

    async def subscribe(self, account_id: UUID) -> None:
        """Make sure that there is a subscription; without a connection it follows later."""
        account = self._accounts.get(account_id)
        if account is None:
            return
        async with account.subscribing:
            if account.subscriptions or not (account.watches or account.guests) or not self._bus.connected:
                return
            try:
                account.subscriptions.append(await self._bus.subscribe(mailbox_subject(account_id), self._notified))
                account.subscriptions.append(await self._bus.subscribe(account_subject(account_id), self._told))
            except BusUnavailable as error:
                log.info("subscribe_failed", error=str(error))

    async def release(self, account_id: UUID) -> None:
        """Give the subscription up when nobody watches the account any more."""
        account = self._accounts.get(account_id)
        if account is None or account.watches or account.guests:
            return
        del self._accounts[account_id]
        async with account.subscribing:  # one that is under way has to be given up too
            for subscription in account.subscriptions:
                try:
                    await subscription.unsubscribe()
                except (NatsError, OSError) as error:
                    log.info("unsubscribe_failed", error=repr(error))

    async def _notified(self, message: Msg) -> None:
        try:
            _, account_text, mailbox_text = message.subject.split(".")
            account_id, mailbox_id = UUID(account_text), UUID(mailbox_text)
            change = msgspec.msgpack.decode(message.data, type=MailboxChanged)
        except (ValueError, msgspec.MsgspecError):
            log.warning("odd_subject", subject=message.subject)
            return
        account = self._accounts.get(account_id)
        if account is not None and not change.entries:
            if len(account.modseqs) >= MAX_CHANGED:
                account.modseqs.clear()
                account.serial = next(_serials)
            account.modseqs[mailbox_id] = max(change.modseq, account.modseqs.get(mailbox_id, 0))
        for watch in (*account.watches, *account.guests) if account else ():
            if change.entries:
                watch.annotations_changed(mailbox_id, change)
            elif watch.mailbox_id == mailbox_id:
                watch.notified(change.modseq)
            elif watch.hears_all:
                watch.others_changed = True
                watch.changed.set()

    async def _told(self, message: Msg) -> None:
        """Of the account itself: sessions end whose login doesn't hold any more."""
        try:
            account_id = UUID(message.subject.partition(".")[2])
            what = msgspec.msgpack.decode(message.data, type=AccountChanged).what
        except (ValueError, msgspec.MsgspecError):
            log.warning("odd_message", subject=message.subject)
            return
        account = self._accounts.get(account_id)
        if account is not None and what == "mailboxes":
            account.lists += 1
        for watch in (*account.watches, *account.guests) if account and what == "mailboxes" else ():
            if watch.hears_all:
                watch.others_changed = True
                watch.changed.set()
        for watch in list(account.watches) if account and what in _ENDS else ():
            if watch.kick is not None:
                watch.kick(_ENDS[what])

    async def _connected(self) -> None:
        """Subscribe what waited; whatever was published meanwhile was missed, so everybody looks."""
        self._settled_at = asyncio.get_running_loop().time() + self._settling_s
        if not self._hears_untold:
            try:
                await self._bus.subscribe(UNTOLD, self._missed)
                self._hears_untold = True
            except BusUnavailable as error:
                log.info("subscribe_failed", error=str(error))
        for account_id, account in list(self._accounts.items()):
            await self.subscribe(account_id)
            for watch in (*account.watches, *account.guests):
                watch.others_changed = True
                watch.changed.set()

    async def _missed(self, _: Msg) -> None:
        """A store may have changed something that it couldn't tell."""
        self._untold += 1
