"""Sets of uids as they travel: single uids and ranges, so that `1:1000000000` is as short as it looks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from mail_runtime.contracts.errors import Refused

# In any order, ranges with both ends: [1, [5, 9]].
UidSet = Sequence[int | tuple[int, int]]

# RFC 9051 §2.3.1.1: uids have 32 bits.
MAX_UID: Final = 4_294_967_295
# Ours: ranges that don't touch each other, after joining; every other message of 200,000.
MAX_RANGES: Final = 100_000


def joined(uids: UidSet) -> list[tuple[int, int]]:
    """The set as ascending ranges that neither overlap nor touch. Raises Refused: no uids, or too many ranges."""
    ranges: list[tuple[int, int]] = []
    for first, last in sorted((uid, uid) if isinstance(uid, int) else uid for uid in uids):
        if not 0 < first <= last <= MAX_UID:
            raise Refused(f"{first}:{last} are no uids")
        if ranges and first <= ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], max(ranges[-1][1], last))
        else:
            ranges.append((first, last))
    if len(ranges) > MAX_RANGES:
        raise Refused(f"a set of uids has at most {MAX_RANGES} ranges")
    return ranges


def spanned(uids: UidSet) -> int:
    """How many messages it has at most."""
    return sum(1 if isinstance(uid, int) else uid[1] - uid[0] + 1 for uid in uids)


def compact(uids: Iterable[int]) -> list[int | tuple[int, int]]:
    """Uids as a set that is short on the wire; ascending ones give the shortest."""
    found: list[int | tuple[int, int]] = []
    first = last = None
    for uid in uids:
        if first is None or last is None:
            first = last = uid
        elif uid == last + 1:
            last = uid
        else:
            found.append(first if first == last else (first, last))
            first = last = uid
    if first is not None and last is not None:
        found.append(first if first == last else (first, last))
    return found
