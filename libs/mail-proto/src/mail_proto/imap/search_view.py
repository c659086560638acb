"""SEARCH out of what a session knows of its mailbox: flags, numbers, uids, sizes and internal dates.

What a store would find at the modseq of the columns, without asking it. A mask has an octet for each message, 1 where
the key holds; as one large integer it takes part in AND, OR and NOT at once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from datetime import date
from itertools import compress
from math import inf
from typing import Final

from mail_proto.imap import search_keys as k
from mail_proto.imap.view import View

# Ours: each key looks at every message, 5 ms for 100,000, and the event loop waits for all.
MAX_KEYS: Final = 16
_DAY_S: Final = 86_400
_EPOCH: Final = date(1970, 1, 1).toordinal()


def is_known(key: k.SearchKey) -> bool:
    """Whether `search` can tell: nothing in it is about contents, the time, ids or modseqs, and there are few keys."""
    return 0 <= _known_keys(key) <= MAX_KEYS


def _known_keys(key: k.SearchKey) -> int:
    """How many keys look at messages; -1: the view doesn't know all of them."""
    match key:
        case k.Everything():
            return 0
        case k.Numbers() | k.HasFlag() | k.Size() | k.Received():
            return 1
        case k.Not(inner):
            return _known_keys(inner)
        case k.AnyOf(keys) | k.AllOf(keys):
            counts = [_known_keys(inner) for inner in keys]
            return -1 if -1 in counts else sum(counts)
    return -1


def search(key: k.SearchKey, view: View) -> list[int]:
    """Uids of the messages that the client has heard of and that are there, ascending.

    `is_known(key)` holds. Raises SyntaxFault: a number that no message has.
    """
    searching = _Searching(view)
    mask = searching.mask(key).to_bytes(searching.count, "little")
    return list(compress(view.columns.uids, mask))


class _Searching:
    def __init__(self, view: View) -> None:
        self._view, self._columns = view, view.columns
        # What arrived since has no number yet.
        self.count = bisect_right(view.columns.uids, view.last_uid)
        self._everything = _mask(b"\x01" * self.count)

    def mask(self, key: k.SearchKey) -> int:
        match key:
            case k.Everything():
                return self._everything
            case k.Numbers(numbers, are_uids):
                chosen = set(self._view.select(numbers, by_uid=are_uids))
                return self._of(map(chosen.__contains__, self._columns.uids))
            case k.HasFlag(flag):
                return self._having(flag)
            case k.Size(limit, larger):
                # limit < octets, limit > octets
                return self._of(map(limit.__lt__ if larger else limit.__gt__, self._columns.octets))
            case k.Received(first, end):
                start, stop = _midnight(first, -inf), _midnight(end, inf)
                return self._of(start <= seconds < stop for seconds in self._columns.internal_dates)
            case k.Not(inner):
                return self.mask(inner) ^ self._everything
            case k.AnyOf(keys):
                found = 0
                for inner in keys:
                    found |= self.mask(inner)
                return found
            case k.AllOf(keys):
                found = self._everything
                for inner in keys:
                    found &= self.mask(inner)
                return found
        raise ValueError(key)

    def _having(self, flag: str) -> int:
        having = [any(own.lower() == flag for own in flags) for flags in self._columns.flag_sets]
        return self._of(map(having.__getitem__, self._columns.flag_numbers))

    def _of(self, matches: Iterable[bool]) -> int:
        """Of one truth for each message, those that the client hasn't heard of included."""
        return _mask(bytes(matches)[: self.count])


def _mask(octets: bytes) -> int:
    return int.from_bytes(octets, "little")


def _midnight(day: date | None, default: float) -> float:
    """When it begins in UTC, in seconds since the epoch."""
    return default if day is None else (day.toordinal() - _EPOCH) * _DAY_S
