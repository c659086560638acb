"""Names of mailboxes: Unicode, `/` between the levels."""

from __future__ import annotations

import unicodedata
from typing import Final

from mail_runtime.contracts.errors import Refused

INBOX: Final = "INBOX"
MAX_OCTETS: Final = 1000
MAX_LEVELS: Final = 50


def canonical(name: str) -> str:
    """The name as it is kept: INBOX in capitals (RFC 9051 §5.1), no trailing separator (§6.3.4).

    Raises Refused: empty levels, control characters, too long.
    """
    name = name.removesuffix("/")
    levels = name.split("/")
    if not all(levels):
        raise Refused("a mailbox name has no empty levels")
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in name):
        raise Refused("a mailbox name has no control characters")
    if len(name.encode()) > MAX_OCTETS or len(levels) > MAX_LEVELS:
        raise Refused("the mailbox name is too long")
    if levels[0].upper() == INBOX:
        levels[0] = INBOX
    return "/".join(levels)


def superiors(name: str) -> list[str]:
    """The names above it, topmost first."""
    levels = name.split("/")
    return ["/".join(levels[:depth]) for depth in range(1, len(levels))]
