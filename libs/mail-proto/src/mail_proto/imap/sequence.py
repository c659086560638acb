"""Sequence sets (RFC 3501 §9).

sequence-set = (seq-number / seq-range) *("," sequence-set)
seq-range    = seq-number ":" seq-number        seq-number = nz-number / "*"
sequence-set =/ "$"                              (RFC 9051 §6.4.4.1)
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

MAX_NUMBER: Final = 4_294_967_295
# Ours: a set with more ranges than this is no mail client's.
MAX_RANGES: Final = 20_000
_RANGE: Final = re.compile(rb"([1-9][0-9]{0,9}|\*)(?::([1-9][0-9]{0,9}|\*))?")


@dataclass(frozen=True, slots=True)
class SequenceSet:
    """Ranges as sent; 0 stands for `*`, the largest number in use. `is_saved`: `$`, the last result (RFC 5182)."""

    ranges: tuple[tuple[int, int], ...]
    is_saved: bool = False

    def resolved(self, largest: int) -> list[tuple[int, int]]:
        """Ascending ranges that don't overlap, both ends included, `*` replaced."""
        if len(self.ranges) == 1:
            first, last = self.ranges[0]
            if not (largest or first or last):
                return []
            first, last = first or largest, last or largest
            return [(first, last)] if first <= last else [(last, first)]
        pairs = sorted(
            tuple(sorted((first or largest, last or largest)))
            for first, last in self.ranges
            if largest or first or last
        )
        merged: list[tuple[int, int]] = []
        for first, last in pairs:
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], last))
            else:
                merged.append((first, last))
        return merged

    def select(self, numbers: Sequence[int]) -> list[int]:
        """Those of the ascending `numbers` that are in the set, ascending; absent ones are no error."""
        chosen: list[int] = []
        for first, last in self.resolved(numbers[-1] if numbers else 0):
            chosen += numbers[bisect_left(numbers, first) : bisect_right(numbers, last)]
        return chosen


def parse(octets: bytes) -> SequenceSet:
    """Raises ValueError: not a sequence set, or out of bounds."""
    if octets == b"$":
        return SequenceSet((), is_saved=True)
    words = octets.split(b",", MAX_RANGES)
    if len(words) > MAX_RANGES:
        raise ValueError("too many ranges")
    ranges = []
    for word in words:
        found = _RANGE.fullmatch(word)
        if found is None:
            raise ValueError("not a sequence set")
        first = _number(found[1])
        ranges.append((first, first if found[2] is None else _number(found[2])))
    return SequenceSet(tuple(ranges))


def _number(octets: bytes) -> int:
    number = 0 if octets == b"*" else int(octets)
    if number > MAX_NUMBER:
        raise ValueError("a number is too large")
    return number


def gaps(ranges: Iterable[tuple[int, int]], present: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The parts of ascending ranges where none of the ascending `present` numbers is, as ranges."""
    for first, last in ranges:
        start = first
        for number in present[bisect_left(present, first) : bisect_right(present, last)]:
            if number > start:
                yield start, number - 1
            start = number + 1
        if start <= last:
            yield start, last


def render_ranges(ranges: Iterable[tuple[int, int]]) -> bytes:
    """Ranges, both ends included, as a set."""
    return b",".join(b"%d" % first if first == last else b"%d:%d" % (first, last) for first, last in ranges)


def render(numbers: Iterable[int]) -> bytes:
    """The numbers, in the order given, as a set: `1:3,5`."""
    return render_ranges(_runs(numbers))


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    first = last = None
    for number in numbers:
        if last is not None and number == last + 1:
            last = number
            continue
        if first is not None and last is not None:
            yield first, last
        first = last = number
    if first is not None and last is not None:
        yield first, last
