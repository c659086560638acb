"""The rules of taking in a transmission: whose recipients they are, and who may relay."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from mail_proto.addresses import AddressFault, parse_mailbox
from mail_runtime.contracts.errors import NotFound, Refused, TooLarge
from mail_runtime.contracts.store import Appended, AppendHeader, Transmission
from store_api.blobs import Octets
from store_api.db.engine import Database, run
from store_api.directory.resolve import Route, resolve
from store_api.ingest.coalescer import Coalescer
from store_api.ingest.incoming import Incoming, Outbound, Target
from store_api.mailboxes.flags import canonical_flags

MAX_RECIPIENTS: Final = 1000
# The limit is that of what the client sent: the trace header comes on top.
TRACE_OCTETS: Final = 16_384


async def accept(
    database: Database,
    coalescer: Coalescer,
    transmission: Transmission,
    octets: Octets,
    *,
    max_octets: int,
    lifetime_s: float,
) -> None:
    """Store the message for all its recipients; returns after commit.

    A transmission that is stored already changes nothing. Raises Refused: a recipient is unknown, the sender
    isn't the submitter's, or relaying isn't allowed. TooLarge. Unavailable.
    """
    if len(octets) > max_octets + TRACE_OCTETS:
        raise TooLarge(f"the message is larger than {max_octets} octets")
    if not 0 < len(transmission.recipients) <= MAX_RECIPIENTS:
        raise Refused(f"a transmission has 1 to {MAX_RECIPIENTS} recipients")
    async with database.transaction() as connection:
        routes = await resolve(connection, transmission.recipients)
        if transmission.submitted_by is not None:
            address = (
                await run(
                    connection,
                    "SELECT address FROM account WHERE id = :id AND state = 'active'",
                    id=transmission.submitted_by,
                )
            ).scalar()
            if address is None or transmission.reverse_path.lower() not in {"", address}:
                raise Refused(f"{transmission.reverse_path!r} is not an address of this account")
    _check_routes(transmission, routes)
    inboxes = dict.fromkeys(route.inbox for route in routes if route.inbox is not None)
    remote = tuple(dict.fromkeys(route.address for route in routes if route.status == "remote"))
    await coalescer.store(
        Incoming(
            octets,
            tuple(Target(account_id, mailbox_id) for account_id, mailbox_id in inboxes),
            Outbound(
                transmission.id,
                transmission.submitted_by,
                transmission.reverse_path,
                remote,
                transmission.smtputf8,
                lifetime_s,
            ),
        )
    )


def _check_routes(transmission: Transmission, routes: list[Route]) -> None:
    for route in routes:
        if route.status == "unknown":
            raise Refused(f"{route.address}: no such user here")
        if route.status == "remote":
            if transmission.submitted_by is None:
                raise Refused(f"{route.address}: relaying is not allowed")
            try:
                parse_mailbox(route.address)
            except AddressFault as fault:
                raise Refused(f"{route.address!r} is not an address: {fault}") from fault


async def append(
    coalescer: Coalescer,
    account_id: UUID,
    mailbox_id: UUID,
    header: AppendHeader,
    octets: Octets,
    *,
    max_octets: int,
) -> Appended:
    """Store the message in a mailbox (RFC 9051 §6.3.12). Raises NotFound, TooLarge, Refused: a bad flag."""
    if len(octets) > max_octets:
        raise TooLarge(f"the message is larger than {max_octets} octets")
    flags = tuple(canonical_flags(header.flags))
    if header.internal_date is None:
        target = Target(account_id, mailbox_id, flags)
    else:
        target = Target(account_id, mailbox_id, flags, int(header.internal_date.timestamp()))
    stored = await coalescer.store(Incoming(octets, (target,)))
    if not stored:
        raise NotFound("the mailbox is gone")
    return Appended(uid_validity=stored[0].uid_validity, uid=stored[0].uid)
