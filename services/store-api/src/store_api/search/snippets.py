"""The place in a text where something was found, as people read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mail_proto.fold import fold

# Ours: in how much of a text a place is looked for, and how much of it is shown around it.
MAX_LOOKED: Final = 100_000
BEFORE: Final = 60
LENGTH: Final = 200


@dataclass(frozen=True, slots=True)
class Snippet:
    """`matches`: where in `text` the terms are, half-open, counted in code points."""

    text: str
    matches: tuple[tuple[int, int], ...]


def snippet(text: str, terms: Sequence[str]) -> Snippet | None:
    """Around the first of the folded terms; None where there is none of them. White space becomes one space."""
    text = " ".join(text[:MAX_LOOKED].split())
    folded, origins = _folded(text)
    places = [place for term in terms if (place := folded.find(term)) >= 0]
    if not places:
        return None
    start = max(0, origins[min(places)] - BEFORE)
    shown = text[start : start + LENGTH]
    folded, origins = _folded(shown)
    return Snippet(shown, tuple(_matches(folded, origins, terms)))


def _matches(folded: str, origins: Sequence[int], terms: Sequence[str]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for term in terms:
        at = folded.find(term)
        while at >= 0:
            end = at + len(term)
            found.append((origins[at], origins[end - 1] + 1))
            at = folded.find(term, end)
    merged: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _folded(text: str) -> tuple[str, Sequence[int]]:
    """The folded text, and for each of its characters the place in the text that it comes from."""
    if text.isascii():
        return fold(text), range(len(text))
    pieces = [fold(char) for char in text]
    return "".join(pieces), [at for at, piece in enumerate(pieces) for _ in piece]
