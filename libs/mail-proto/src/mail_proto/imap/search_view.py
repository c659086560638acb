"""SEARCH out of what a session knows of its mailbox: flags, numbers, uids, sizes and internal dates.

And out of header fields, where somebody has them of each message. What a store would find at the modseq of the columns,
without asking it. A mask has an octet for each message, 1 where
the key holds; as one large integer it takes part in AND, OR and NOT at once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from datetime import date
from itertools import compress, islice
from math import inf
from typing import Final, NamedTuple

from mail_proto.fold import fold
from mail_proto.imap import search_keys as k
from mail_proto.imap.view import View

# Ours: each key looks at every message, 5 ms for 100,000, and the event loop waits for all.
MAX_KEYS: Final = 16
_DAY_S: Final = 86_400
_EPOCH: Final = date(1970, 1, 1).toordinal()
# Whose values are in `Fields`.
NAMED: Final = ("subject", "from", "to", "cc", "bcc")


class Fields(NamedTuple):
    """Of one message. `texts`: for each of NAMED all fields of the name, folded, a line each, None where there is none.

    `sent_day`: as its Date says it.
    """

    texts: tuple[str | None, ...]
    sent_day: date | None


def is_known(key: k.SearchKey, *, with_fields: bool = False) -> bool:
    """Whether `search` can tell: nothing in it is about texts, the time, ids or modseqs, and there are few keys.

    `with_fields`: where it is given the `Fields` of each message.
    """
    return 0 <= _known_keys(key, with_fields) <= MAX_KEYS


def _known_keys(key: k.SearchKey, with_fields: bool) -> int:
    """How many keys look at messages; -1: the view doesn't know all of them."""
    match key:
        case k.InHeader(name) if with_fields and _folded(name) in NAMED:
            return 1
        case k.Sent() if with_fields:
            return 1
        case k.Everything():
            return 0
        case k.Numbers() | k.HasFlag() | k.Size() | k.Received():
            return 1
        case k.Not(inner):
            return _known_keys(inner, with_fields)
        case k.AnyOf(keys) | k.AllOf(keys):
            counts = [_known_keys(inner, with_fields) for inner in keys]
            return -1 if -1 in counts else sum(counts)
    return -1


def known_uids(view: View) -> list[int]:
    """Of the messages that `search` looks at, ascending: the client has heard of them, and they are there."""
    # What arrived since has no number yet.
    return view.columns.uids[: bisect_right(view.columns.uids, view.last_uid)].tolist()


def search(key: k.SearchKey, view: View, fields: Mapping[int, Fields] | None = None) -> list[int]:
    """Uids of the messages that the client has heard of and that are there, ascending.

    `is_known(key)` holds, with `fields` of all `known_uids` by uid.
    """
    searching = _Searching(view, fields or {})
    mask = searching.mask(key).to_bytes(searching.count, "little")
    return list(compress(view.columns.uids, mask))


class _Searching:
    def __init__(self, view: View, fields: Mapping[int, Fields]) -> None:
        self._view, self._columns, self._fields = view, view.columns, fields
        self.count = bisect_right(view.columns.uids, view.last_uid)
        self._everything = _mask(b"\x01" * self.count)

    def mask(self, key: k.SearchKey) -> int:
        match key:
            case k.Everything():
                return self._everything
            case k.Numbers(numbers, are_uids):
                chosen = set(self._view.select(numbers, by_uid=are_uids, leniently=True))
                return self._of(map(chosen.__contains__, self._columns.uids))
            case k.HasFlag(flag):
                return self._having(flag)
            case k.Size(limit, larger):
                # limit < octets, limit > octets
                return self._of(map(limit.__lt__ if larger else limit.__gt__, self._columns.octets))
            case k.Received(first, end):
                start, stop = _midnight(first, -inf), _midnight(end, inf)
                return self._of(start <= seconds < stop for seconds in self._columns.internal_dates)
            case k.Sent(first, end):
                days = (fields.sent_day for fields in self._known_fields())
                return self._of(day is not None and _is_within(day, first, end) for day in days)
            case k.InHeader(name, text):
                return self._in_header(NAMED.index(_folded(name)), fold(text))
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

    def _in_header(self, at: int, text: str) -> int:
        values = [fields.texts[at] for fields in self._known_fields()]
        if not text:
            return self._of(value is not None for value in values)
        if "\n" in text or "\0" in text:
            return 0  # values are on one line
        return self._of(value is not None and text in value for value in values)

    def _known_fields(self) -> Iterable[Fields]:
        return map(self._fields.__getitem__, islice(self._columns.uids, self.count))

    def _having(self, flag: str) -> int:
        if flag == k.RECENT.flag:
            return self._of(map(self._view.is_recent, self._columns.uids))
        having = [any(own.lower() == flag for own in flags) for flags in self._columns.flag_sets]
        return self._of(map(having.__getitem__, self._columns.flag_numbers))

    def _of(self, matches: Iterable[bool]) -> int:
        """Of one truth for each message, those that the client hasn't heard of included."""
        return _mask(bytes(matches)[: self.count])


def _is_within(day: date, first: date | None, end: date | None) -> bool:
    return (first is None or first <= day) and (end is None or day < end)


def _folded(name: bytes) -> str:
    return fold(name.decode("latin-1"))


def _mask(octets: bytes) -> int:
    return int.from_bytes(octets, "little")


def _midnight(day: date | None, default: float) -> float:
    """When it begins in UTC, in seconds since the epoch."""
    return default if day is None else (day.toordinal() - _EPOCH) * _DAY_S
