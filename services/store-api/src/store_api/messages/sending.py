"""Sending for an account: the message as it leaves, its envelope, and the copy that the sender keeps."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final
from uuid import UUID, uuid5

from mail_proto.addresses import AddressFault, parse_mailbox
from mail_proto.message.address_list import displayed, parse_list
from mail_proto.message.compose import has_bare_line_end, has_long_line, with_crlf
from mail_proto.message.headers import first_values, lines
from mail_runtime.contracts.errors import Refused, StoreError, TooLarge
from mail_runtime.contracts.store import AppendHeader, Transmission
from mail_runtime.tracing import current
from store_api.blobs import Octets
from store_api.blobs.joining import forget_pages, joined
from store_api.db.engine import Database, run
from store_api.directory.resolve import may_send_as, submitters
from store_api.ingest.coalescer import Coalescer
from store_api.ingest.submission import MAX_RECIPIENTS, accept, append

SENT: Final = "\\Sent"
# What a sender's own copy has and nobody else's, and what only servers may write.
_PRIVATE: Final = frozenset({b"bcc", b"resent-bcc", b"return-path"})
_HEADER_END: Final = re.compile(rb"\A\r\n|\r\n\r\n")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message that is ready. `recipients` each once.

    As it leaves it is `head`, as the sender keeps it `own_head`, and behind that what of `rest` begins at `rest_start`:
    a large one isn't copied for that.
    """

    transmission_id: UUID
    message_id: str
    reverse_path: str
    recipients: tuple[str, ...]
    head: bytes
    own_head: bytes
    rest: Octets = b""
    rest_start: int = 0

    @property
    def length(self) -> int:
        return len(self.head) + len(self.rest) - self.rest_start

    def behind(self, head: bytes, spool: str | None) -> Octets:
        """The message behind another head. Blocks. Raises Unavailable."""
        with memoryview(self.rest) as whole, whole[self.rest_start :] as rest:
            octets = joined((head, rest), spool)
        forget_pages(self.rest)
        return octets


@dataclass(frozen=True, slots=True)
class Sent:
    """`copy_in`: the mailbox where the sender's copy is; None where it was not wanted, or had no room."""

    outgoing: Outgoing
    copy_in: UUID | None


def valid_address(address: str, what: str = "an address") -> str:
    """The address in its usual form. Raises Refused."""
    try:
        return str(parse_mailbox(address))
    except AddressFault as fault:
        raise Refused(f"{what}: {address[:320]!r} is not an address: {fault}") from fault


def from_raw(transmission_id: UUID, host: str, octets: Octets, recipients: Sequence[str], now: datetime) -> Outgoing:
    """A message that was written elsewhere: Bcc taken out, Date and Message-ID added where they are missing.

    Without `recipients` it goes to those in To, Cc and Bcc. Raises Refused: it has no sender or no recipients, or a
    line that is too long for mail.
    """
    if has_bare_line_end(octets) or octets[-2:] != b"\r\n":
        octets = with_crlf(bytes(octets))
        octets = octets if octets.endswith(b"\r\n") else octets + b"\r\n"
    if has_long_line(octets):
        raise Refused("a line has more than 998 octets (RFC 5322 §2.1.1): encode the part that it is in")
    end = _HEADER_END.search(octets)
    header = octets[:] if end is None else octets[: end.end()]
    values = first_values(header)
    senders = displayed(parse_list(values.get(b"from", b"")))
    if len(senders) != 1 or sum(line.name.lower() == b"from" for line in lines(header)) != 1:
        raise Refused("the message has no From with one address")
    if not recipients:
        named = [displayed(parse_list(values.get(name, b""))) for name in (b"to", b"cc", b"bcc")]
        recipients = [address for listed in named for _, address in listed]
    message_id = values.get(b"message-id", b"").strip(b"<>").decode("utf-8", "replace")
    added = b""
    if not message_id:
        message_id = f"{transmission_id.hex}@{host}"
        added += f"Message-ID: <{message_id}>\r\n".encode()
    if b"date" not in values:
        added += f"Date: {format_datetime(now)}\r\n".encode()
    kept = b"".join(header[line.start : line.end] for line in lines(header) if line.name.lower() not in _PRIVATE)
    return Outgoing(
        transmission_id,
        message_id,
        valid_address(senders[0][1], "From"),
        unique(recipients),
        added + kept + b"\r\n",
        added + header,
        octets,
        len(header),
    )


def unique(recipients: Sequence[str]) -> tuple[str, ...]:
    """Each once, in order. Raises Refused: none, too many, or one is no address."""
    found = tuple(dict.fromkeys(valid_address(address, "a recipient") for address in recipients))
    if not 0 < len(found) <= MAX_RECIPIENTS:
        raise Refused(f"a message has 1 to {MAX_RECIPIENTS} recipients")
    return found


async def check_sender(database: Database, account_id: UUID, address: str) -> None:
    """Raises Refused: the account may not write in the name of that address, or not at all."""
    async with database.transaction() as connection:
        submitter = (await submitters(connection, [account_id])).get(account_id)
        if submitter is None:
            raise Refused("a disabled account sends nothing")
        if not await may_send_as(connection, submitter, address):
            raise Refused(f"{address} is not an address of this account")


async def send(
    database: Database,
    coalescer: Coalescer,
    account_id: UUID,
    outgoing: Outgoing,
    *,
    max_octets: int,
    host: str,
    keep_copy: bool,
    spool: str | None,
) -> Sent:
    """Accept it for all its recipients, then put the sender's copy into Sent; the same transmission only once.

    Raises Refused: a recipient takes no mail, or the sender isn't the account's. OverQuota. TooLarge. Unavailable.
    """
    if outgoing.length > max_octets:
        raise TooLarge(f"the message is larger than {max_octets} octets")
    await check_sender(database, account_id, outgoing.reverse_path)
    addresses = (outgoing.reverse_path, *outgoing.recipients)
    transmission = Transmission(
        id=outgoing.transmission_id,
        reverse_path=outgoing.reverse_path,
        recipients=list(outgoing.recipients),
        submitted_by=account_id,
        smtputf8=not all(address.isascii() for address in addresses),
    )
    octets = await asyncio.to_thread(outgoing.behind, _trace(outgoing, host) + outgoing.head, spool)
    await accept(coalescer, transmission, octets, max_octets=max_octets)
    del octets
    copy_in = await _keep(database, coalescer, account_id, outgoing, spool) if keep_copy else None
    return Sent(outgoing, copy_in)


def _trace(outgoing: Outgoing, host: str) -> bytes:
    """Where it came in (RFC 5321 §4.4), without saying from which machine."""
    now = format_datetime(datetime.now(UTC))
    received = f"Received: by {host} with HTTP id {outgoing.transmission_id.hex};\r\n\t{now}\r\n".encode()
    trace = current()
    return received + trace.field() if trace else received


async def _keep(
    database: Database, coalescer: Coalescer, account_id: UUID, outgoing: Outgoing, spool: str | None
) -> UUID | None:
    """It has been sent: that it can't be kept is no failure of the request."""
    async with database.transaction() as connection:
        found = await run(
            connection,
            "SELECT id FROM mailbox WHERE account_id = :account_id AND special_use = :use ORDER BY id LIMIT 1",
            account_id=account_id,
            use=SENT,
        )
        sent_id: UUID | None = found.scalar()
    if sent_id is None:
        return None
    header = AppendHeader(flags=["\\Seen"], id=uuid5(outgoing.transmission_id, "copy"))
    try:
        octets = await asyncio.to_thread(outgoing.behind, outgoing.own_head, spool)
        await append(coalescer, account_id, sent_id, header, octets, max_octets=len(octets))
    except StoreError:
        return None
    return sent_id
