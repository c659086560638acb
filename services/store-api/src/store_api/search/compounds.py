"""Words joined by a point, hyphen, apostrophe or @, as addresses and their domains are: what a substring of one is in.

A *compound* is a run of ASCII letters that are joined by single separators, an @ only in front:

    compound = 1*letter 1*(separator 1*letter) / "@" 1*letter *(separator 1*letter)
    separator = "." / "-" / "'"

Each occurrence of a needle of that form lies within one compound of a text, whatever stands around it: a compound ends
where no separator with a letter behind it follows, and begins at an @. So the compounds that contain a needle decide,
as words do for needles of letters. Digits end them: else most would be ids, dates and numbers of networks.
"""

from __future__ import annotations

import re
from typing import Final

SEPARATORS: Final = frozenset("@.'-")
# Ours: some megabytes.
MAX_KNOWN: Final = 50_000

_JOINED: Final = r"(?:[.'-][a-z]++)"
# Each letter is looked at once: no run is tried from within, none given back.
_COMPOUND: Final = re.compile(rf"@[a-z]++{_JOINED}*+|(?<![a-z])[a-z]++{_JOINED}++")
_LETTERS: Final = b"abcdefghijklmnopqrstuvwxyz"
_ALONE: Final = bytes(octet if octet in _LETTERS or chr(octet) in SEPARATORS else ord(" ") for octet in range(256))


def compounds(text: str) -> set[str]:
    """Those of a folded text."""
    pieces = set(text.encode("ascii", "replace").translate(_ALONE).split())
    return set().union(*map(_OF_PIECE.__getitem__, (piece for piece in pieces if not piece.isalpha())))


def is_compound(text: str) -> bool:
    """Whether a needle lies within compounds."""
    return _COMPOUND.fullmatch(text) is not None


class _Pieces(dict[bytes, tuple[str, ...]]):
    """The compounds of what stands between other characters: most have been seen before."""

    def __missing__(self, piece: bytes) -> tuple[str, ...]:
        if len(self) > MAX_KNOWN:
            self.clear()
        self[piece] = found = tuple(_COMPOUND.findall(piece.decode("ascii")))
        return found


_OF_PIECE: Final = _Pieces()
