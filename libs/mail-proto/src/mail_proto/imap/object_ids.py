"""Ids of mailboxes, messages and threads on the wire (RFC 8474 §4): a letter and a UUID in hexadecimal.

objectid = 1*255(ALPHA / DIGIT / "_" / "-"). The letter keeps them from looking like numbers, and from being mistaken
for one another (§5.1 wants them not to be guessable from outside: UUIDs aren't).
"""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

_ID: Final = re.compile(rb"([FMT])([0-9a-f]{32})")


def mailbox_id(value: UUID) -> bytes:
    return b"F" + value.hex.encode("ascii")


def email_id(value: UUID) -> bytes:
    return b"M" + value.hex.encode("ascii")


def thread_id(value: UUID) -> bytes:
    return b"T" + value.hex.encode("ascii")


def parse_email_id(octets: bytes) -> UUID | None:
    """None: it is none of ours, so that no message has it."""
    return _parse(octets, b"M")


def parse_thread_id(octets: bytes) -> UUID | None:
    """As `parse_email_id`."""
    return _parse(octets, b"T")


def _parse(octets: bytes, letter: bytes) -> UUID | None:
    found = _ID.fullmatch(octets)
    return UUID(found[2].decode("ascii")) if found and found[1] == letter else None
