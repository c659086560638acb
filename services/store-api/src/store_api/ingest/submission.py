"""What frontends hand over: transmissions, and messages for one mailbox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec

from mail_runtime.contracts.errors import NotFound, Refused, TooLarge
from mail_runtime.contracts.store import Appended, AppendHeader, Transmission
from mail_runtime.tracing import carried
from store_api.blobs import Octets
from store_api.db.engine import Database
from store_api.ingest.coalescer import Coalescer
from store_api.ingest.drafts import Arrived
from store_api.ingest.incoming import Incoming, Target
from store_api.mailboxes.flag_names import canonical_flags
from store_api.mailboxes.reaching import reach
from store_api.mailboxes.rights import Right, changeable

MAX_RECIPIENTS: Final = 1000
# Ours: what a client that saves a folder sends in one go.
MAX_TOGETHER: Final = 1000
# The limit is that of what the client sent: the trace header comes on top.
TRACE_OCTETS: Final = 16_384


async def accept(coalescer: Coalescer, transmission: Transmission, octets: Octets, *, max_octets: int) -> None:
    """Store the message for all its recipients; returns after commit.

    A transmission that is stored already changes nothing. Raises Refused: a recipient takes no mail, the sender
    isn't the submitter's, or relaying isn't allowed; the text begins with an enhanced status code (RFC 3463).
    OverQuota: a recipient has no room. TooLarge. Unavailable.
    """
    if len(octets) > max_octets + TRACE_OCTETS:
        raise TooLarge(f"the message is larger than {max_octets} octets")
    if not 0 < len(transmission.recipients) <= MAX_RECIPIENTS:
        raise Refused(f"5.5.3 a transmission has 1 to {MAX_RECIPIENTS} recipients")
    if any("\0" in address for address in (transmission.reverse_path, *transmission.recipients)):
        raise Refused("5.1.3 an address has no NUL")
    await coalescer.accept(Arrived(transmission, octets, traceparent=carried()))


async def append(
    coalescer: Coalescer,
    account_id: UUID,
    mailbox_id: UUID,
    header: AppendHeader,
    octets: Octets,
    *,
    max_octets: int,
) -> Appended:
    """Store the message in a mailbox (RFC 9051 §6.3.12); one with the same `header.id` is stored once.

    Raises NotFound, TooLarge, OverQuota, Unavailable. Refused: a bad flag.
    """
    return (await append_all(coalescer, account_id, mailbox_id, [header], [octets], max_octets=max_octets))[0]


async def append_elsewhere(
    database: Database,
    coalescer: Coalescer,
    account_id: UUID,
    mailbox_id: UUID,
    headers: Sequence[AppendHeader],
    messages: Sequence[Octets],
    *,
    max_octets: int,
) -> list[Appended]:
    """As `append_all`, into another's mailbox, whose owner's room it takes; flags are dropped that the account has no
    right to set (RFC 4314 §4, APPEND). Raises NotPermitted too: without `i`.
    """
    async with database.transaction() as connection:
        there = await reach(connection, account_id, mailbox_id, Right.INSERT)
    headers = [msgspec.structs.replace(one, flags=changeable(one.flags, there.rights)) for one in headers]
    return await append_all(
        coalescer, there.owner_id, mailbox_id, headers, messages, max_octets=max_octets, inserter_id=account_id
    )


async def append_all(
    coalescer: Coalescer,
    account_id: UUID,
    mailbox_id: UUID,
    headers: Sequence[AppendHeader],
    messages: Sequence[Octets],
    *,
    max_octets: int,
    inserter_id: UUID | None = None,
) -> list[Appended]:
    """Store several messages in a mailbox, all or none (RFC 3502), as `append` does."""
    if not 0 < len(messages) == len(headers) <= MAX_TOGETHER:
        raise Refused(f"1 to {MAX_TOGETHER} messages are stored together")
    if any(len(octets) > max_octets for octets in messages):
        raise TooLarge(f"the message is larger than {max_octets} octets")
    group = [
        Incoming(octets, (target_of(account_id, mailbox_id, header, inserter_id),), key=header.id)
        for header, octets in zip(headers, messages, strict=True)
    ]
    stored = await coalescer.store(group)
    if not stored:
        raise NotFound("the mailbox is gone")
    return [Appended(uid_validity=one.uid_validity, uid=one.uid) for one in stored]


def target_of(account_id: UUID, mailbox_id: UUID, header: AppendHeader, inserter_id: UUID | None) -> Target:
    """Where a message goes. Raises Refused: a bad flag."""
    flags = tuple(canonical_flags(header.flags))
    if header.internal_date is None:
        return Target(account_id, mailbox_id, flags, inserter_id=inserter_id)
    return Target(account_id, mailbox_id, flags, int(header.internal_date.timestamp()), inserter_id)
