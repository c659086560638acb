"""Folded text as words, so that an index of words answers what a *substring* is in.

A text is cut where the class of characters changes: runs of letters, runs of digits, pairs of neighbours in scripts
without spaces. Where it is cut depends on nothing but two neighbouring characters, so a needle is cut as the text
around it is: its inner words are words of the text, its first one ends a word of the text, its last one begins one, and
a needle of one word only is part of one. These are its *clues*. A single clue decides; several only say which texts to
look into.

Needles of one or two ASCII letters or digits would be part of too many words: for these a set of the neighbours that
occur is kept, a bit for each (`pairs`).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal
from unicodedata import category

from store_api.search.compounds import Address, as_address, is_compound, joined

# Longer words are kept as overlapping pieces, in one of which every part of HALF characters lies.
MAX_WORD: Final = 64
HALF: Final = MAX_WORD // 2
# Ours: a text with more different words isn't indexed by them, but read whenever something is looked for.
MAX_WORDS: Final = 20_000

_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_OTHER: Final = len(_LETTERS)
_SIDE: Final = _OTHER + 1
PAIR_OCTETS: Final = (_SIDE * _SIDE + _OTHER + 7) // 8
_SET: Final = ord("1")
_CLASSES: Final = bytes(_LETTERS.find(chr(octet)) if chr(octet) in _LETTERS else _OTHER for octet in range(256))

# Thai to Khmer, Kana, Han: no spaces between words.
_UNSPACED: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)


_ascii_runs: Final = re.compile(r"[a-z]+|[0-9]+").findall


@dataclass(frozen=True, slots=True)
class Clue:
    """What a text that contains the needle has: a word that is, begins with, ends with or contains `text`.

    `among_compounds`: or a compound.
    """

    text: str
    place: Literal["whole", "start", "end", "part"]
    among_compounds: bool = False


@dataclass(frozen=True, slots=True)
class Needle:
    """A folded text to look for. `pair`: the bit in `pairs` that decides. `is_exact`: the one clue decides."""

    text: str
    clues: tuple[Clue, ...]
    is_exact: bool = False
    pair: int | None = None


@cache
def _runs() -> re.Pattern[str]:
    """Runs of unspaced script (group 1), of letters with their marks, of digits."""
    marks = "".join(
        re.escape(chr(point)) for point in range(0x300, 0x10000) if category(chr(point)) in ("Mn", "Mc", "Me")
    )
    return re.compile(rf"([{_UNSPACED}]+)|(?:(?![{_UNSPACED}])[^\W\d_]|(?![{_UNSPACED}])[{marks}])+|\d+")


def words(text: str) -> set[str]:
    """The words of a folded text, long ones in pieces. No word goes over the end of a line."""
    if text.isascii():
        return _ascii_words(text)
    lines = text.split("\n")
    others = [line for line in lines if not line.isascii()]
    return _ascii_words("\n".join(line for line in lines if line.isascii())).union(*map(_other_words, others))


def words_and_addresses(text: str) -> tuple[set[str], set[Address]]:
    """The words and compounds of a folded text, long ones in pieces; and its addresses, whose halves are among them."""
    compounds, whole = joined(text)
    addresses = {(before[-MAX_WORD:], behind[:MAX_WORD]) for before, behind in whole}
    return words(text).union(_with_pieces(set(compounds)), *addresses), addresses


def _ascii_words(text: str) -> set[str]:
    """The same in a fifth of the time, where letters are those of ASCII."""
    return _with_pieces(set(_ascii_runs(text)))


def _with_pieces(found: set[str]) -> set[str]:
    for run in [run for run in found if len(run) > MAX_WORD]:
        found.remove(run)
        found.update(_pieces(run))
    return found


def _pieces(run: str) -> Iterator[str]:
    return (run[at : at + MAX_WORD] for at in range(0, len(run), HALF))


def _other_words(text: str) -> set[str]:
    found: set[str] = set()
    for match in _runs().finditer(text):
        run = match[0]
        if match[1] is not None:
            found.update(_neighbours(run))
        elif len(run) <= MAX_WORD:
            found.add(run)
        else:
            found.update(_pieces(run))
    return found


def _neighbours(run: str) -> Iterator[str]:
    return (run[at : at + 2] for at in range(max(1, len(run) - 1)))


def joined_clues(text: str) -> tuple[Clue, ...]:
    """Of a folded needle within compounds the clue that decides; of one within addresses, those of both halves."""
    if len(text) <= HALF and is_compound(text):
        # Compounds begin at an @.
        return (Clue(text, "start" if text.startswith("@") else "part", among_compounds=True),)
    address = as_address(text)
    if address is None or any(len(half) > HALF for half in address):
        return ()
    before, behind = address
    return Clue(before, "end", among_compounds=True), Clue(behind, "start", among_compounds=True)


def needle(text: str) -> Needle:
    """How to find a folded, non-empty text by words."""
    if len(text) <= 2 and all(char in _LETTERS for char in text):
        return Needle(text, (), is_exact=True, pair=_bit(text))
    clues: list[Clue] = []
    for match in _runs().finditer(text):
        at_start, at_end = match.start() == 0, match.end() == len(text)
        if match[1] is not None:
            clues += _unspaced_clues(match[0], at_edge=at_start or at_end)
        else:
            clues.append(_clue(match[0], at_start=at_start, at_end=at_end))
    whole = len(clues) == 1 and clues[0].text == text
    return Needle(text, tuple(dict.fromkeys(clues)), is_exact=whole)


def _clue(run: str, *, at_start: bool, at_end: bool) -> Clue:
    if len(run) > HALF:
        return Clue(run[:HALF], "part")
    if at_start:
        return Clue(run, "part" if at_end else "end")
    return Clue(run, "start" if at_end else "whole")


def _unspaced_clues(run: str, *, at_edge: bool) -> list[Clue]:
    if len(run) == 1:
        return [Clue(run, "part" if at_edge else "whole")]
    return [Clue(pair, "whole") for pair in _neighbours(run)]


def _bit(text: str) -> int:
    if len(text) == 1:
        return _SIDE * _SIDE + _LETTERS.index(text)
    return _SIDE * _LETTERS.index(text[0]) + _LETTERS.index(text[1])


def pairs(text: str) -> bytes:
    """Which letters and digits of ASCII a folded text has, and which stand side by side: PAIR_OCTETS.

    Bit `n` is counted as Postgres' get_bit does, from the lowest of the first octet.
    """
    classes = text.encode("latin-1", "replace").translate(_CLASSES)
    # A digit for each bit, the second of a pair as its row: what is done for each pair must be little.
    digits = bytearray(b"0" * (_SIDE << 8))
    for start in (0, 1):
        for pair in _twos(classes, start):
            digits[pair] = _SET
    singles = bytearray(b"0" * _OTHER)
    for single in set(classes) - {_OTHER}:
        singles[single] = _SET
    ordered = b"".join([*(digits[first::256] for first in range(_SIDE)), singles])
    return int(ordered[::-1], 2).to_bytes(PAIR_OCTETS, "little")


def pair_bits(text: str) -> list[int]:
    """The bits that `pairs` sets for a folded text of at least one character, those of neighbours first."""
    number = int.from_bytes(pairs(text), "little")
    return [bit for bit in range(number.bit_length()) if number >> bit & 1]


def _twos(octets: bytes, start: int) -> set[int]:
    """Two and two octets, the first one in the low half of a number."""
    count = (len(octets) - start) // 2
    return set(struct.unpack_from(f"<{count}H", octets, start)) if count > 0 else set()
