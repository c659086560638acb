"""The trace header that a receiving server puts in front of a message (RFC 5321 §4.4).

Received: from <EHLO name> ([address]) by <host> with <protocol> id <id> for <recipient>; <date>
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from ipaddress import IPv6Address, ip_address
from typing import Final

# What of a client's EHLO argument may stand in a header; anything else could hide or forge structure.
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9.:_\-\[\]]")
_MAX_NAME: Final = 255
# RFC 5321 §6.3: "normally at least 100 Received entries" before a message is taken for looping.
MAX_HOPS: Final = 100


@dataclass(frozen=True, slots=True)
class Hop:
    """One transfer of a message to this server. `recipient` only when there is one (RFC 5321 §7.2)."""

    client_name: str
    client_address: str
    server_name: str
    protocol: str
    id: str
    recipient: str | None
    at: datetime


def protocol_name(*, lmtp: bool, extended: bool, tls: bool, authenticated: bool, smtputf8: bool) -> str:
    """Keyword after `with` (RFC 3848; RFC 6531 §4.3 for the UTF8 family)."""
    if not (lmtp or extended):
        return "SMTP"
    name = "LMTP" if lmtp else "SMTP" if smtputf8 else "ESMTP"
    return ("UTF8" if smtputf8 else "") + name + ("S" if tls else "") + ("A" if authenticated else "")


def address_literal(address: str) -> str:
    """`[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 §4.1.3); IPv4-mapped addresses as IPv4."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return "[unknown]"
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is None:
            return f"[IPv6:{ip}]"
        return f"[{ip.ipv4_mapped}]"
    return f"[{ip}]"


def received(hop: Hop) -> bytes:
    """The complete header field, folded, with CRLF."""
    name = _UNSAFE.sub("?", hop.client_name)[:_MAX_NAME] or "unknown"
    recipient = f"\r\n\tfor <{hop.recipient}>" if hop.recipient else ""
    return (
        f"Received: from {name} ({address_literal(hop.client_address)})\r\n"
        f"\tby {hop.server_name} with {hop.protocol} id {hop.id}{recipient};\r\n"
        f"\t{format_datetime(hop.at)}\r\n"
    ).encode()


def return_path(reverse_path: str) -> bytes:
    """The complete header field with CRLF; `reverse_path` is a parsed address, or empty."""
    return f"Return-Path: <{reverse_path}>\r\n".encode()


def hops(message: bytes) -> int:
    """How many Received fields the message's header has."""
    end = message.find(b"\r\n\r\n")
    header = b"\n" + (message if end < 0 else message[:end])
    return header.lower().count(b"\nreceived:")
