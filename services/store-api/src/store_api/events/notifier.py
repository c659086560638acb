"""Notifications of changes, on core NATS: best effort, sent after commit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

import msgspec

from mail_runtime.bus import Bus
from mail_runtime.contracts.subjects import (
    DIRECTORY_CHANGED,
    UNTOLD,
    AccountChanged,
    MailboxChanged,
    account_subject,
    mailbox_subject,
)
from mail_runtime.order import Echoes

_encode = msgspec.msgpack.Encoder().encode


@dataclass(slots=True)
class Changed:
    """What a transaction changed. `mailboxes`: (account, mailbox) → its new modseq; `lists`: accounts whose mailboxes
    are others now, or have other names or attributes.
    """

    mailboxes: dict[tuple[UUID, UUID], int] = field(default_factory=dict)
    lists: set[UUID] = field(default_factory=set)

    def note(self, account_id: UUID, mailbox_id: UUID, modseq: int) -> None:
        """The mailbox is at `modseq` now."""
        self.mailboxes[account_id, mailbox_id] = modseq


class Notifier:
    """Lost notifications cost freshness, never correctness: views catch up by themselves.

    Changes of mailboxes are with NATS before whoever made them is answered (`mail_runtime.order`).
    """

    def __init__(self, bus: Bus) -> None:
        self._bus, self._echoes = bus, Echoes(bus)
        bus.on_connect(self.untold)

    async def announce(self, changed: Changed) -> None:
        """One message for each mailbox and each list that changed; returns when they are on their way."""
        if not changed.mailboxes and not changed.lists:
            return
        for (account_id, mailbox_id), modseq in changed.mailboxes.items():
            await self.mailbox_changed(account_id, mailbox_id, modseq)
        for account_id in changed.lists:
            await self.mailboxes_changed(account_id)
        await self._echoes.heard()

    async def untold(self) -> None:
        """Something may have changed without a word: while there was no connection, or with too much at once."""
        await self._bus.publish(UNTOLD, b"")
        await self._echoes.heard()

    async def mailbox_changed(self, account_id: UUID, mailbox_id: UUID, modseq: int) -> None:
        await self._bus.publish(mailbox_subject(account_id, mailbox_id), _encode(MailboxChanged(modseq=modseq)))

    async def annotations_changed(
        self, owner_id: UUID, mailbox_id: UUID, entries: Iterable[str], reader_id: UUID | None
    ) -> None:
        """Annotations were set or removed: see `MailboxChanged`."""
        changed = MailboxChanged(0, tuple(entries), reader_id)
        await self._bus.publish(mailbox_subject(owner_id, mailbox_id), _encode(changed))

    async def mailboxes_changed(self, account_id: UUID) -> None:
        """The list of mailboxes of an account is another one."""
        await self._bus.publish(account_subject(account_id), _encode(AccountChanged(what="mailboxes")))

    async def account_changed(self, account_id: UUID, what: Literal["password", "disabled", "deleted"]) -> None:
        """Frontends drop what they remember of it, and close its sessions."""
        await self._bus.publish(account_subject(account_id), _encode(AccountChanged(what=what)))

    async def directory_changed(self) -> None:
        """Where addresses lead is different now."""
        await self._bus.publish(DIRECTORY_CHANGED, b"")
