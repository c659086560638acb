"""Who watches which account: one subscription per account on NATS, however many sessions it has here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import structlog
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from mail_runtime.bus import Bus, BusUnavailable, Msg
from mail_runtime.contracts.subjects import mailbox_subject

log = structlog.get_logger()


class Watch:
    """One session's interest: `changed` is set when its mailbox may have changed."""

    def __init__(self) -> None:
        self.mailbox_id: UUID | None = None
        self.changed = asyncio.Event()


class _Account:
    def __init__(self) -> None:
        self.watches: set[Watch] = set()
        self.subscription: Subscription | None = None
        self.subscribing = asyncio.Lock()


class Watches:
    """Notifications that are lost cost freshness only: sessions look for themselves as well."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._accounts: dict[UUID, _Account] = {}
        bus.on_connect(self._connected)

    @property
    def is_live(self) -> bool:
        """Whether notifications arrive at present."""
        return self._bus.connected

    @contextmanager
    def watching(self, account_id: UUID) -> Iterator[Watch]:
        """Watch an account while the block runs; call `subscribe` inside."""
        account = self._accounts.setdefault(account_id, _Account())
        watch = Watch()
        account.watches.add(watch)
        try:
            yield watch
        finally:
            account.watches.discard(watch)

    async def subscribe(self, account_id: UUID) -> None:
        """Make sure that there is a subscription; without a connection it follows later."""
        account = self._accounts.get(account_id)
        if account is None:
            return
        async with account.subscribing:
            if account.subscription is not None or not account.watches or not self._bus.connected:
                return
            try:
                account.subscription = await self._bus.subscribe(mailbox_subject(account_id), self._notified)
            except BusUnavailable as error:
                log.info("subscribe_failed", error=str(error))

    async def release(self, account_id: UUID) -> None:
        """Give the subscription up when nobody watches the account any more."""
        account = self._accounts.get(account_id)
        if account is None or account.watches:
            return
        del self._accounts[account_id]
        async with account.subscribing:  # one that is under way has to be given up too
            if account.subscription is None:
                return
            try:
                await account.subscription.unsubscribe()
            except (NatsError, OSError) as error:
                log.info("unsubscribe_failed", error=repr(error))

    async def _notified(self, message: Msg) -> None:
        try:
            _, account_text, mailbox_text = message.subject.split(".")
            account_id, mailbox_id = UUID(account_text), UUID(mailbox_text)
        except ValueError:
            log.warning("odd_subject", subject=message.subject)
            return
        account = self._accounts.get(account_id)
        for watch in account.watches if account else ():
            if watch.mailbox_id == mailbox_id:
                watch.changed.set()

    async def _connected(self) -> None:
        """Subscribe what waited; whatever was published meanwhile was missed, so everybody looks."""
        for account_id, account in list(self._accounts.items()):
            await self.subscribe(account_id)
            for watch in account.watches:
                watch.changed.set()
