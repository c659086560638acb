"""Rights on mailboxes (RFC 4314)."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

# Without the obsolete `c` and `d` (RFC 4314 §2.1.1), which are the protocol's business.
RIGHTS: Final = "lrswipkxtea"
# All accounts of the owner's domain.
ANYONE: Final = "anyone"
# Where an account finds mailboxes of others: `Shared/<owner>/<mailbox>`, `Public/<mailbox>`.
SHARED: Final = "Shared"
PUBLIC: Final = "Public"


def is_elsewhere(name: str) -> bool:
    """Whether a mailbox of that name would be another's."""
    return name.partition("/")[0] in {SHARED, PUBLIC}


class AclEntry(msgspec.Struct, frozen=True, kw_only=True):
    """`identifier`: an address or `anyone`, behind `-` where these rights are taken away (RFC 4314 §2)."""

    identifier: str
    rights: str


class SetRights(msgspec.Struct, frozen=True, kw_only=True):
    """SETACL (RFC 4314 §3.1); DELETEACL replaces by none."""

    identifier: str
    rights: str
    how: Literal["replace", "add", "remove"] = "replace"
