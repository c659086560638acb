"""Words joined by a point, hyphen, apostrophe or @, as addresses and their domains are: what a substring of one is in.

A *compound* is a run of ASCII letters that are joined by single separators, an @ only in front:

    compound = 1*letter 1*(separator 1*letter) / "@" 1*letter *(separator 1*letter)
    separator = "." / "-" / "'"

Each occurrence of a needle of that form lies within one compound of a text, whatever stands around it: a compound ends
where no separator with a letter behind it follows, and begins at an @. So the compounds that contain a needle decide,
as words do for needles of letters. Digits end them: else most would be ids, dates and numbers of networks.

An *address* is what stands on both sides of an @: the letters before it with what is joined to them, and the compound
that begins there. Whole ones would be many words, each Message-ID one; pairs of these two are but numbers (`marks`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

SEPARATORS: Final = frozenset("@.'-")
# Ours: some megabytes.
MAX_KNOWN: Final = 50_000

_JOINED: Final = r"(?:[.'-][a-z]++)"
_CHAIN: Final = re.compile(rf"[a-z]++{_JOINED}*+")
# Each letter is looked at once: no run is tried from within, none given back.
_COMPOUND: Final = re.compile(rf"@[a-z]++{_JOINED}*+|(?<![a-z])[a-z]++{_JOINED}++")
_LETTERS: Final = b"abcdefghijklmnopqrstuvwxyz"
_ALONE: Final = bytes(octet if octet in _LETTERS or chr(octet) in SEPARATORS else ord(" ") for octet in range(256))


# Before the @, and from the @ on.
Address = tuple[str, str]


class Joined(NamedTuple):
    """What is joined in a text."""

    compounds: frozenset[str]
    addresses: frozenset[Address]


def joined(text: str) -> Joined:
    """Compounds and addresses of a folded text."""
    pieces = set(text.encode("ascii", "replace").translate(_ALONE).split())
    found = [_OF_PIECE[piece] for piece in pieces if not piece.isalpha()]
    return Joined(
        frozenset().union(*(one.compounds for one in found)), frozenset().union(*(one.addresses for one in found))
    )


def is_compound(text: str) -> bool:
    """Whether a needle lies within compounds."""
    return _COMPOUND.fullmatch(text) is not None


def as_address(text: str) -> Address | None:
    """The needle, if it lies within addresses: one begins with its second half, and ends before that with the first."""
    before, at, behind = text.partition("@")
    return (before, at + behind) if _CHAIN.fullmatch(before) and _CHAIN.fullmatch(behind) else None


class _Pieces(dict[bytes, Joined]):
    """What is joined in what stands between other characters: most have been seen before."""

    def __missing__(self, octets: bytes) -> Joined:
        if len(self) > MAX_KNOWN:
            self.clear()
        piece = octets.decode("ascii")
        self[octets] = found = Joined(frozenset(_COMPOUND.findall(piece)), frozenset(_addresses(piece)))
        return found


def _addresses(piece: str) -> Iterator[Address]:
    for left, right in pairwise(piece.split("@")):
        # Backwards, it is found where it ends.
        before, behind = _CHAIN.match(left[::-1]), _CHAIN.match(right)
        if before and behind:
            yield before[0][::-1], f"@{behind[0]}"


_OF_PIECE: Final = _Pieces()
