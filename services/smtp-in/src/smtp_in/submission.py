"""What a submission server does to a message, and the sender's own copy of it (RFC 6409 §8)."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID, uuid4

import structlog

from mail_proto.message.completing import Completed, Submitter, completed
from mail_proto.smtp.arguments import MailArguments
from mail_runtime.contracts.errors import StoreError
from mail_runtime.contracts.store import Appended, AppendHeader, Mailbox, Principal

log = structlog.get_logger()

SENT: Final = "\\Sent"
# The client waits for its reply meanwhile, and the message is on its way already.
COPY_TIMEOUT_S: Final = 30.0


class Copies(Protocol):
    """The part of the store client that keeps copies."""

    async def mailboxes(self, account_id: UUID) -> list[Mailbox]: ...

    async def append(self, account_id: UUID, mailbox_id: UUID, header: AppendHeader, message: bytes) -> Appended: ...


def prepared(principal: Principal, mail: MailArguments, message: bytes, hostname: str) -> Completed:
    """The message as it goes out. `mail` was checked: its reverse path is one that the account may use."""
    own = [*principal.addresses, mail.reverse_path]
    submitter = Submitter(principal.address, own)
    return completed(message, submitter, datetime.now().astimezone(), f"{uuid4()}@{hostname}")


async def keep_copy(store: Copies, principal: Principal, sent: Completed) -> None:
    """Into the account's Sent, with its Bcc. It has been sent: that it can't be kept is no failure."""
    header = AppendHeader(flags=["\\Seen"], id=uuid4())
    try:
        async with asyncio.timeout(COPY_TIMEOUT_S):
            for mailbox in await store.mailboxes(principal.account_id):
                if mailbox.special_use == SENT:
                    await store.append(principal.account_id, mailbox.id, header, sent.blind + sent.message)
                    return
    except (StoreError, TimeoutError) as error:
        log.warning("sent_copy_lost", account_id=str(principal.account_id), error=str(error))
