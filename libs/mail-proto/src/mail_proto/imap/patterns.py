"""Patterns of LIST (RFC 9051 §6.3.9)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Final

# Neighbouring wildcards are one: `*` swallows `%`.
_PIECE: Final = re.compile(r"[*%]+|[^*%]+")


class Pattern:
    """`*` matches anything, `%` anything but the separator; INBOX in any case (RFC 3501 §6.3.8).

    Not a regular expression: `%a%a%a…` would take one for ever.
    """

    def __init__(self, pattern: str) -> None:
        head, separator, rest = pattern.partition("/")
        if head.upper() == "INBOX":
            pattern = "INBOX" + separator + rest
        self._pieces: list[str] = _PIECE.findall(pattern)

    def matches(self, name: str) -> bool:
        """Whether the whole name matches; time grows with the name's length squared at most."""
        reached = {0}
        for piece in self._pieces:
            if "*" in piece:
                reached = set(range(min(reached), len(name) + 1))
            elif piece[0] == "%":
                reached = {end for start in _run_starts(name, reached) for end in _run(name, start)}
            else:
                reached = {at + len(piece) for at in reached if name.startswith(piece, at)}
            if not reached:
                return False
        return len(name) in reached


def may_match(pattern: str, beginnings: Iterable[str]) -> bool:
    """Whether a name that begins so can match; sometimes it says yes though none does."""
    fixed = re.split("[*%]", pattern, maxsplit=1)[0]
    return any(beginning.startswith(fixed) or fixed.startswith(beginning) for beginning in beginnings)


def _run_starts(name: str, reached: Collection[int]) -> Iterator[int]:
    """The first position reached on each level: `%` from there covers those behind it."""
    level_end = -1
    for at in sorted(reached):
        if at > level_end:
            yield at
            end = name.find("/", at)
            level_end = len(name) if end < 0 else end


def _run(name: str, start: int) -> range:
    end = name.find("/", start)
    return range(start, (len(name) if end < 0 else end) + 1)
