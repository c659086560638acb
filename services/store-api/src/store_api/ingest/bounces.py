"""Bounces of this system for recipients that fail at once, stored with the message itself (RFC 3461 §6, RFC 3464)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid5

from mail_proto.dsn import FailedRecipient, delivery_status_notification
from mail_runtime.contracts.store import Transmission
from store_api.blobs import Octets
from store_api.ingest.drafts import Arrived

# The whole header is looked at, and no more than that of a large message.
_MAX_ORIGINAL_OCTETS = 262_144


def bounce(
    hostname: str,
    reverse_path: str,
    failures: Sequence[FailedRecipient],
    original: Octets,
    identifier: UUID,
) -> Arrived:
    """The notification as a transmission of our own, from the null reverse path to the sender."""
    octets = delivery_status_notification(
        hostname,
        reverse_path,
        failures,
        bytes(original[:_MAX_ORIGINAL_OCTETS]),
        f"<{identifier}@{hostname}>",
        datetime.now(UTC),
    )
    smtputf8 = not all(address.isascii() for address in (reverse_path, *(failure.address for failure in failures)))
    sent = Transmission(id=identifier, reverse_path="", recipients=[reverse_path], smtputf8=smtputf8)
    return Arrived(sent, octets, is_own=True)


def bounce_id(transmission_id: UUID) -> UUID:
    """Of the bounce of a transmission that failed while it was stored."""
    return uuid5(transmission_id, "bounce")
