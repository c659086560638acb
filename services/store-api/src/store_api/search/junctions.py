"""Where two words of a folded text stand side by side, as numbers: what decides phrases, which words alone don't.

A *junction* is a space with the letters and digits around it: up to three before and up to three after. Its number says
which these are, so that nothing has to be looked up for it; 36 bits, those of the outermost characters last:

    of the:   f  t  o  h  -  e      6 bits each; 0: no letter or digit, and what is beyond it doesn't matter

A phrase of words of at most three letters lies within one junction, whose number decides; of longer ones the numbers
only say which texts to look into. Letters outside of ASCII share numbers with each other, and so decide nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, pairwise, product
from operator import itemgetter
from typing import Final

REACH: Final = 3
# Numbers that a junction at the edge of a needle may have, where a character on both sides is unknown: 64 by 64.
MAX_NUMBERS: Final = 4_096
# Ours: a text with more isn't indexed by them.
MAX_JUNCTIONS: Final = 20_000
# Ours: some megabytes.
MAX_KNOWN: Final = 50_000

_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_SYMBOL: Final = {letter: number for number, letter in enumerate(_LETTERS, 1)}
_OTHERS: Final = len(_LETTERS) + 1
_SYMBOLS: Final = 64
JUNCTION_BITS: Final = 36
# From the space outwards.
_SHIFTS_BEFORE: Final = (30, 18, 6)
_SHIFTS_AFTER: Final = (24, 12, 0)

_last: Final = itemgetter(slice(-REACH, None))
_first: Final = itemgetter(slice(REACH))


@dataclass(frozen=True, slots=True)
class Places:
    """The junctions of a needle. A text that has the needle has a number of each list in `numbers`.

    `decide`: and a text with such numbers has the needle.
    """

    numbers: list[list[int]]
    decide: bool


def junctions(text: str) -> set[int]:
    """The numbers of all junctions of a folded text."""
    pieces = text.split(" ")
    before = map(_BEFORE.__getitem__, map(_last, pieces))
    after = map(_AFTER.__getitem__, map(_first, islice(pieces, 1, None)))
    return {one | other for one, other in set(zip(before, after, strict=False)) if one and other}


def places_of(text: str) -> Places:
    """Where words stand side by side in a folded needle."""
    pieces = text.split(" ")
    found = []
    for number, (left, right) in enumerate(pairwise(pieces), 1):
        before = _possible(left[::-1], _SHIFTS_BEFORE, is_open=number == 1)
        after = _possible(right, _SHIFTS_AFTER, is_open=number == len(pieces) - 1)
        if before and after and len(before) * len(after) <= MAX_NUMBERS:
            found.append([one | other for one, other in product(before, after)])
    is_whole = len(pieces) == 2 and all(len(piece) <= REACH and _SYMBOL.keys() >= set(piece) for piece in pieces)
    return Places(found, is_whole and len(found) == 1)


def _symbol(char: str) -> int:
    return _SYMBOL.get(char) or (_OTHERS + ord(char) % (_SYMBOLS - _OTHERS) if char.isalnum() else 0)


def _half(outwards: str, shifts: Sequence[int]) -> int:
    """One half of a number, from the characters beside the space; 0: nothing that makes a junction."""
    number = 0
    for char, shift in zip(outwards[:REACH], shifts, strict=False):
        if not (symbol := _symbol(char)):
            break
        number |= symbol << shift
    return number


class _Halves(dict[str, int]):
    """Halves by the characters, as they stand in the text: most have been seen before."""

    def __init__(self, shifts: Sequence[int], step: int) -> None:
        self._shifts, self._step = shifts, step

    def __missing__(self, chars: str) -> int:
        if len(self) > MAX_KNOWN:
            self.clear()
        self[chars] = found = _half(chars[:: self._step], self._shifts)
        return found


_BEFORE: Final = _Halves(_SHIFTS_BEFORE, -1)
_AFTER: Final = _Halves(_SHIFTS_AFTER, 1)


def _possible(outwards: str, shifts: Sequence[int], *, is_open: bool) -> list[int]:
    """Halves that a piece of a needle may have; `is_open`: a text may go on behind it."""
    known = _half(outwards, shifts)
    length = len(outwards)
    if not is_open or not known or length >= REACH or not all(map(_symbol, outwards)):
        return [known] if known else []
    found = longest = [known]
    for shift in shifts[length:]:
        longest = [one | symbol << shift for one in longest for symbol in range(1, _SYMBOLS)]
        found = found + longest
    return found
