"""Mail that leaves again: the copy that a forwarder sends on, and how loops are noticed.

Each forwarder that a message passed on its way out is named in a Delivered-To field on top, as Postfix's local(8) and
qmail do. A message that comes back to one of them goes round in circles.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from uuid import UUID, uuid5

from mail_proto.addresses import MAX_ADDRESS_OCTETS
from mail_proto.message.headers import lines, unfold
from mail_proto.srs import Srs
from store_api.directory.expansion import Forwarder

# What is looked at of a header: trace fields stand at its top.
_MAX_HEADER_OCTETS: Final = 262_144


def delivered_to(header: bytes) -> frozenset[str]:
    """The addresses in Delivered-To fields, in lower case."""
    found = set()
    for line in lines(header[:_MAX_HEADER_OCTETS]):
        if line.name.lower() == b"delivered-to":
            value = unfold(header[line.value_start : line.value_end][: MAX_ADDRESS_OCTETS + 2])
            found.add(value.decode("utf-8", "replace").strip("<> ").lower())
    return frozenset(found)


def forwarded(octets: bytes, path: tuple[Forwarder, ...]) -> bytes:
    """The message as it leaves: the last forwarder on top."""
    return "".join(f"Delivered-To: {forwarder.address}\r\n" for forwarder in reversed(path)).encode() + octets


def forwarded_id(transmission_id: UUID, path: tuple[Forwarder, ...]) -> UUID:
    """The id of the transmission that leaves: the same each time that the first one is repeated."""
    return uuid5(transmission_id, "\n".join(forwarder.address for forwarder in path))


def forwarding_path(srs: Srs, reverse_path: str, *, is_ours: bool, path: tuple[Forwarder, ...]) -> str:
    """The reverse path to leave with: ours may send from here, others' are rewritten so that SPF passes.

    An address that would grow too long (RFC 5321 §4.5.3.1.3) stays as it is.
    """
    if is_ours or not reverse_path:
        return reverse_path
    domain = path[-1].address.rpartition("@")[2]
    rewritten = srs.forward(reverse_path, domain, datetime.now(UTC).date())
    return rewritten if len(rewritten.encode()) <= MAX_ADDRESS_OCTETS else reverse_path
