"""End of data: from received octets to the store's answer, once per recipient group.

A 250 is given only after the store said that the message is committed; every other end leaves the
message with the client (RFC 5321 §4.2.5).
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID, uuid4

import structlog

from mail_proto.smtp import trace
from mail_proto.smtp.replies import Reply
from mail_runtime.contracts.errors import OverQuota, Refused, StoreError, TooLarge, Unavailable
from mail_runtime.contracts.store import Accepted, Transmission
from smtp_in.metrics import TRANSMISSIONS

log = structlog.get_logger()

LOOP: Final = Reply(554, "5.4.6", "this message has passed too many servers; it seems to loop")
# The store knows a repeated transmission by its id: when only its answer was lost, nothing is stored twice.
RETRY_PAUSES_S: Final = (0.5, 1.5)
# Replies that speak of one of the recipients.
RECIPIENTS_FAULT: Final = frozenset({550, 452})
# status-code = class "." subject "." detail (RFC 3463 §2)
_STATUS: Final = re.compile(r"([245]\.\d{1,3}\.\d{1,3}) ")
TEMPORARY: Final = Reply(451, "4.3.0", "the mail store can't take this now; try again later")


class Ingest(Protocol):
    """The part of the store client that is used here."""

    async def accept(self, transmission: Transmission, message: bytes) -> Accepted: ...


@dataclass(frozen=True, slots=True)
class Envelope:
    """What MAIL, RCPT and the session said about the message, and how it came."""

    listener: str
    protocol: str
    client_name: str
    client_address: str
    server_name: str
    reverse_path: str
    recipients: tuple[str, ...]
    submitted_by: UUID | None
    smtputf8: bool


async def transfer(store: Ingest, envelope: Envelope, message: bytes) -> Reply:
    """Put the trace header in front and have it all stored; the reply to the end of data."""
    if trace.hops(message) >= trace.MAX_HOPS:
        return LOOP
    transmission_id = uuid4()
    recipients = list(envelope.recipients)
    hop = trace.Hop(
        envelope.client_name,
        envelope.client_address,
        envelope.server_name,
        envelope.protocol,
        str(transmission_id),
        recipients[0] if len(recipients) == 1 else None,
        datetime.now().astimezone(),
    )
    transmission = Transmission(
        id=transmission_id,
        reverse_path=envelope.reverse_path,
        recipients=recipients,
        submitted_by=envelope.submitted_by,
        smtputf8=envelope.smtputf8,
    )
    header = trace.received(hop)
    if envelope.submitted_by is None:
        # Final delivery: only local recipients are accepted from outside (RFC 5321 §4.4).
        header = trace.return_path(envelope.reverse_path) + header
    reply = await _accept(store, transmission, header + message)
    outcome = "accepted" if not reply.is_error else "deferred" if reply.code < 500 else "refused"
    TRANSMISSIONS.labels(envelope.listener, outcome).inc()
    log.info(
        "transmission",
        outcome=outcome,
        queue_id=str(transmission_id),
        reverse_path=envelope.reverse_path,
        recipients=len(recipients),
        octets=len(message),
        reply=reply.text if reply.is_error else None,
    )
    return reply


async def _accept(store: Ingest, transmission: Transmission, message: bytes) -> Reply:
    try:
        await _accept_patiently(store, transmission, message)
    except TooLarge:
        return Reply(552, "5.3.4", "the message is too large")
    except OverQuota as error:
        return _refusal(452, "4.2.2", str(error))
    except Refused as error:
        return _refusal(550, "5.7.1", str(error))
    except StoreError:
        return TEMPORARY
    return Reply(250, "2.0.0", f"stored as {transmission.id}")


def _refusal(code: int, status: str, text: str) -> Reply:
    """The store's words; where they begin with an enhanced status code of that class, it is this one."""
    found = _STATUS.match(text)
    if found is not None and found[1][0] == status[0]:
        return Reply(code, found[1], text[found.end() :])
    return Reply(code, status, text or "refused")


async def _accept_patiently(store: Ingest, transmission: Transmission, message: bytes) -> None:
    """Repeat when the store breaks off: it may have been restarted in the middle."""
    for pause_s in RETRY_PAUSES_S:
        try:
            await store.accept(transmission, message)
        except Unavailable:
            await asyncio.sleep(pause_s)
        else:
            return
    await store.accept(transmission, message)
