"""Annotations of mailboxes, and of the server (RFC 5464)."""

from __future__ import annotations

from typing import Final

import msgspec

# Ours; RFC 5464 §4.1 wants 1,024 at least.
MAX_VALUE_OCTETS: Final = 16_384


class FindAnnotations(msgspec.Struct, frozen=True, kw_only=True):
    """Entries of these names, in lower case; `below`: and all that are below them."""

    entries: list[str]
    below: bool = False


class SetAnnotations(msgspec.Struct, frozen=True, kw_only=True):
    """All or none; None removes an entry. Those below /private are the asking account's own."""

    values: dict[str, bytes | None]
