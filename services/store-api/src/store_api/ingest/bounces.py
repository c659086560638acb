"""Notifications of this system about messages (RFC 3461 §6, RFC 3464), stored with what they tell of."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from uuid import UUID, uuid5

from mail_proto.dsn import Notification, RecipientReport, delivery_status_notification
from mail_runtime.contracts.store import Ret, TlsWish, Transmission
from mail_runtime.tracing import parse
from store_api.blobs import Octets
from store_api.ingest.drafts import Arrived

# The whole header is looked at, and no more than that of a large message.
_MAX_HEADER_OCTETS: Final = 262_144
# RET=FULL is a wish (RFC 3461 §6.2): larger messages come back as their header.
MAX_RETURNED_OCTETS: Final = 4_194_304


@dataclass(frozen=True, slots=True)
class Original:
    """The message that a notification is about, and what its sender asked for.

    `traceparent`: the trace of the message, which its notifications belong to.
    """

    reverse_path: str
    octets: Octets
    ret: Ret = ""
    envid: str = ""
    arrived: datetime = field(default_factory=lambda: datetime.now(UTC))
    traceparent: str = ""
    tls_wish: TlsWish = ""

    def to_return(self, reports: Collection[RecipientReport]) -> tuple[bytes, bool]:
        """(octets, whether they are the whole message): that comes back with failures only (RFC 3461 §4.3)."""
        failed = any(report.action == "failed" for report in reports)
        # What had to be protected goes back as its header, protected too (RFC 8689 §5).
        if self.ret == "full" and self.tls_wish != "required" and failed and len(self.octets) <= MAX_RETURNED_OCTETS:
            return bytes(self.octets), True
        return bytes(self.octets[:_MAX_HEADER_OCTETS]), False


def bounce(hostname: str, original: Original, reports: list[RecipientReport], identifier: UUID) -> Arrived:
    """The notification as a transmission of our own, from the null reverse path to the sender."""
    returned, is_whole = original.to_return(reports)
    told = Notification(
        hostname,
        original.reverse_path,
        reports,
        returned,
        f"<{identifier}@{hostname}>",
        datetime.now(UTC),
        original.arrived,
        original.envid,
        is_whole,
    )
    sent = Transmission(
        id=identifier,
        reverse_path="",
        recipients=[original.reverse_path],
        smtputf8=not (told.is_ascii and original.reverse_path.isascii()),
        tls_wish="required" if original.tls_wish == "required" else "",
    )
    trace = parse(original.traceparent)
    field = trace.field() if trace else b""
    return Arrived(sent, field + delivery_status_notification(told), is_own=True, traceparent=original.traceparent)


def bounce_id(transmission_id: UUID) -> UUID:
    """Of the notification about a transmission that was made while it was stored."""
    return uuid5(transmission_id, "bounce")
