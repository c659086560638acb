"""Notifications of changes, on core NATS: best effort, sent after commit."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

import msgspec

from mail_runtime.bus import Bus
from mail_runtime.contracts.subjects import (
    DIRECTORY_CHANGED,
    AccountChanged,
    MailboxChanged,
    account_subject,
    mailbox_subject,
)

_encode = msgspec.msgpack.Encoder().encode


class Notifier:
    """Lost notifications cost freshness, never correctness: views catch up by themselves."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def mailbox_changed(self, account_id: UUID, mailbox_id: UUID, modseq: int) -> None:
        await self._bus.publish(mailbox_subject(account_id, mailbox_id), _encode(MailboxChanged(modseq=modseq)))

    async def mailboxes_changed(self, account_id: UUID) -> None:
        """The list of mailboxes of an account is another one."""
        await self._bus.publish(account_subject(account_id), _encode(AccountChanged(what="mailboxes")))

    async def account_changed(self, account_id: UUID, what: Literal["password", "disabled", "deleted"]) -> None:
        """Frontends drop what they remember of it, and close its sessions."""
        await self._bus.publish(account_subject(account_id), _encode(AccountChanged(what=what)))

    async def directory_changed(self) -> None:
        """Where addresses lead is different now."""
        await self._bus.publish(DIRECTORY_CHANGED, b"")
