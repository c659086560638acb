"""A page of results (RFC 9394 §4, RFC 5267 §4.4).

partial-range       = partial-range-first / partial-range-last
partial-range-first = nz-number ":" nz-number                   from the oldest
partial-range-last  = "-" nz-number ":" "-" nz-number           from the newest
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from mail_proto.imap.cursor import Cursor
from mail_proto.imap.errors import SyntaxFault
from mail_proto.imap.sequence import MAX_NUMBER

T = TypeVar("T")
_RANGE: Final = re.compile(rb"(-?)([1-9][0-9]{0,9}):(-?)([1-9][0-9]{0,9})(?=[ )]|$)")


@dataclass(frozen=True, slots=True)
class PartialRange:
    """1 is the first result, -1 the last; both ends are included, and `first` is the one nearer to the beginning of
    the range: 500:400 is the same as 400:500 (RFC 9394 §4).
    """

    first: int
    last: int

    def of(self, results: Sequence[T]) -> Sequence[T]:
        """Those of the results that are in the range, in their order."""
        nearest, farthest = abs(self.first), abs(self.last)
        if self.first > 0:
            return results[nearest - 1 : farthest]
        return results[max(0, len(results) - farthest) : max(0, len(results) - nearest + 1)]

    def render(self) -> bytes:
        return b"%d:%d" % (self.first, self.last)


def partial_range(cursor: Cursor) -> PartialRange:
    """Raises SyntaxFault."""
    found = _RANGE.match(cursor.octets, cursor.at)
    if found is None or found[1] != found[3]:
        raise SyntaxFault(f"expected a range like 1:100 or -1:-100 at octet {cursor.at}")
    cursor.at = found.end()
    first, last = sorted((int(found[2]), int(found[4])))
    if last > MAX_NUMBER:
        raise SyntaxFault("a number is too large")
    return PartialRange(-first, -last) if found[1] else PartialRange(first, last)
