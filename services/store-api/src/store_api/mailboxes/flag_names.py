"""Flags as they are kept (RFC 9051 §2.3.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from mail_runtime.contracts.errors import Refused

SYSTEM_FLAGS: Final = {flag.lower(): flag for flag in ("\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft")}
MAX_FLAGS: Final = 100
MAX_FLAG_LENGTH: Final = 200
# flag-keyword = atom: no controls, no space, none of ( ) { % * " \ ] (RFC 9051 §9)
_KEYWORD: Final = re.compile(r'[^\x00-\x20\x7f-\U0010ffff(){%*"\\\]]+')


def canonical_flags(flags: Iterable[str]) -> list[str]:
    """System flags in their usual spelling, no flag twice whatever its case (RFC 9051 §2.3.2).

    \\Recent can't be set and is dropped. Raises Refused: not a flag, or too many.
    """
    kept: dict[str, str] = {}
    for flag in flags:
        lower = flag.lower()
        if lower == "\\recent":
            continue
        if lower not in SYSTEM_FLAGS and (not _KEYWORD.fullmatch(flag) or len(flag) > MAX_FLAG_LENGTH):
            raise Refused(f"{flag[:40]!r} is not a flag")
        kept.setdefault(lower, SYSTEM_FLAGS.get(lower, flag))
    if len(kept) > MAX_FLAGS:
        raise Refused(f"a message has at most {MAX_FLAGS} flags")
    return list(kept.values())
