"""End of data: from received octets to the store's answer, in LMTP for each recipient.

A 250 is given only after the store said that the message is committed; every other end leaves the
message with the client (RFC 5321 §4.2.5).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol
from uuid import uuid4

import structlog

from mail_proto.smtp import trace
from mail_proto.smtp.arguments import RcptArguments
from mail_proto.smtp.replies import Reply
from mail_proto.smtp.steps import Envelope
from mail_runtime.contracts.errors import OverQuota, Refused, StoreError, TooLarge, Unavailable
from mail_runtime.contracts.store import Accepted, DsnRequest, Transmission
from mail_runtime.tracing import Trace, new
from smtp_in.metrics import TRANSMISSIONS
from smtp_in.screening import Visitor

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
class Arrival:
    """How a message came. `fields` are put in front of it, behind the trace header. `junk`: into Junk.

    `origin`: the trace (W3C) that began with it.
    """

    visitor: Visitor
    server_name: str
    envelope: Envelope
    fields: bytes = b""
    junk: bool = False
    origin: Trace = field(default_factory=new)


async def transfer(store: Ingest, arrival: Arrival, message: bytes, deadline_s: float) -> list[Reply]:
    """Put the trace header in front and have it all stored; the replies to the end of data.

    One, or in LMTP one per recipient in their order (RFC 2033 §4.2). The store has `deadline_s` for all of it: whoever
    sends gives up after ten minutes, and would send again what is stored (RFC 5321 §4.5.3.2.6, RFC 1047).
    """
    recipients = arrival.envelope.recipients
    is_lmtp = arrival.visitor.listener.lmtp
    if trace.hops(message) >= trace.MAX_HOPS:
        return [LOOP] * (len(recipients) if is_lmtp else 1)
    until = asyncio.get_running_loop().time() + deadline_s
    reply = await _transfer(store, arrival, recipients, message, until)
    if not is_lmtp:
        return [reply]
    if reply.code not in RECIPIENTS_FAULT or len(recipients) == 1:
        return [reply] * len(recipients)
    # One recipient spoilt it for all: each by itself, since LMTP can say which.
    return [await _transfer(store, arrival, [recipient], message, until) for recipient in recipients]


async def _transfer(
    store: Ingest, arrival: Arrival, recipients: Sequence[RcptArguments], message: bytes, until: float
) -> Reply:
    transmission = _transmission(arrival, recipients)
    reply = await _accept(store, transmission, _header(arrival, transmission) + message, until)
    outcome = "accepted" if not reply.is_error else "deferred" if reply.code < 500 else "refused"
    TRANSMISSIONS.labels(arrival.visitor.listener.name, outcome).inc()
    log.info(
        "transmission",
        outcome=outcome,
        queue_id=str(transmission.id),
        reverse_path=transmission.reverse_path,
        recipients=len(recipients),
        octets=len(message),
        reply=reply.text if reply.is_error else None,
    )
    return reply


def _transmission(arrival: Arrival, recipients: Sequence[RcptArguments]) -> Transmission:
    mail, principal = arrival.envelope.mail, arrival.visitor.principal
    return Transmission(
        id=uuid4(),
        reverse_path=mail.reverse_path,
        # In LMTP the same one may have been named twice.
        recipients=list(dict.fromkeys(recipient.forward_path for recipient in recipients)),
        submitted_by=None if principal is None else principal.account_id,
        smtputf8=mail.smtputf8,
        junk=arrival.junk,
        ret=mail.ret,
        envid=mail.envid,
        tls_wish="required" if mail.requires_tls else "",
        dsn={
            recipient.forward_path: DsnRequest(
                notify=None if recipient.notify is None else list(recipient.notify), orcpt=recipient.orcpt
            )
            for recipient in recipients
            if recipient.notify is not None or recipient.orcpt
        },
    )


def _header(arrival: Arrival, transmission: Transmission) -> bytes:
    recipients = transmission.recipients
    hop = trace.Hop(
        arrival.envelope.client_name,
        arrival.visitor.address,
        arrival.server_name,
        arrival.envelope.keyword,
        str(transmission.id),
        recipients[0] if len(recipients) == 1 else None,
        datetime.now().astimezone(),
    )
    header = trace.received(hop) + arrival.origin.field() + arrival.fields
    if transmission.submitted_by is not None:
        return header
    # Final delivery: only local recipients are accepted from outside (RFC 5321 §4.4).
    return trace.return_path(transmission.reverse_path) + header


async def _accept(store: Ingest, transmission: Transmission, message: bytes, until: float) -> Reply:
    try:
        async with asyncio.timeout_at(until):
            await _accept_patiently(store, transmission, message)
    except TooLarge:
        return Reply(552, "5.3.4", "the message is too large")
    except OverQuota as error:
        return _refusal(452, "4.2.2", str(error))
    except Refused as error:
        return _refusal(550, "5.7.1", str(error))
    except (StoreError, TimeoutError):
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
