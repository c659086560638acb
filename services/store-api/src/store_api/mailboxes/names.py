"""Names of mailboxes: Unicode, `/` between the levels."""

from __future__ import annotations

import unicodedata
from typing import Final

from mail_runtime.contracts.errors import Refused

INBOX: Final = "INBOX"
MAX_OCTETS: Final = 1000
MAX_LEVELS: Final = 50

# RFC 6154 §2, in lower case; \\All and \\Flagged would be mailboxes that show what lies in others.
SPECIAL_USES: Final = {use.lower(): use for use in ("\\Archive", "\\Drafts", "\\Junk", "\\Sent", "\\Trash")}


def canonical(name: str) -> str:
    """The name as it is kept: INBOX in capitals (RFC 9051 §5.1), no trailing separator (§6.3.4).

    Raises Refused: empty levels, control characters, too long.
    """
    name = name.removesuffix("/")
    levels = name.split("/")
    if not all(levels):
        raise Refused("a mailbox name has no empty levels")
    if any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in name):
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


def checked_use(use: str | None) -> str | None:
    """The special use in its usual spelling; None stays None. Raises Refused: none that a mailbox can be given."""
    if use is None:
        return None
    if (known := SPECIAL_USES.get(use.lower())) is None:
        raise Refused(f"{use[:40]!r} is no special use that a mailbox can have: {', '.join(SPECIAL_USES.values())}")
    return known
