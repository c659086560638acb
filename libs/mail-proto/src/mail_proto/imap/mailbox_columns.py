"""The messages of one mailbox as columns of machine words, shared by all sessions that have it open.

48 octets for each message: 100,000 take less than 5 MB, however many sessions look at them. Sessions see it through a
`View` each, which knows what its client has been told. What changes here, changes in one step of the event loop.

`uids` only grows in place: a removal makes a new array, so that a view may go on with the old one until its client
may be told (RFC 9051 §7.5.1).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress, count
from typing import Final, NamedTuple, Protocol

from mail_proto.imap import render
from mail_proto.imap.dates import render_date_time

_versions: Final = count()
# As many removals as are done one by one: each moves all that follows.
_FEW: Final = 50
# Sets of flags that are kept though no message has them any more, before they are cleared out.
MAX_UNUSED_SETS: Final = 1_000


class Rows(NamedTuple):
    """Messages as columns of the same length, ascending by uid. `flags`: of each its place in `flag_sets`.

    Arrays of the kinds that `MailboxColumns` has are taken in without a look at each number, those of a new one as they
    are: they are its own from then on.
    """

    uids: Sequence[int]
    modseqs: Sequence[int]
    internal_dates: Sequence[int]
    octets: Sequence[int]
    blob_highs: Sequence[int]
    blob_lows: Sequence[int]
    flags: Sequence[int]
    flag_sets: Sequence[Sequence[str]]

    def starting_at(self, row: int) -> Rows:
        """Those from a row on."""
        return Rows(
            self.uids[row:],
            self.modseqs[row:],
            self.internal_dates[row:],
            self.octets[row:],
            self.blob_highs[row:],
            self.blob_lows[row:],
            self.flags[row:],
            self.flag_sets,
        )


class Message(NamedTuple):
    """A message as it was when it was asked for. `blob`: the id of its octets as a number: that is quick to compare."""

    uid: int
    flags: Sequence[str]
    internal_date: int
    octets: int
    blob: int
    modseq: int = 0

    def has(self, flag: str) -> bool:
        """Whether it carries the flag, given in lower case."""
        return any(own.lower() == flag for own in self.flags)


class Watcher(Protocol):
    """Somebody who is told what changed: a view."""

    def note(self, changed: Iterable[int], removed: Sequence[Message]) -> None: ...


class MailboxColumns:
    """All messages of a mailbox as of `modseq`."""

    def __init__(self, rows: Rows, modseq: int) -> None:
        self.modseq = modseq
        # Another one after each change: what was made of the columns under it is still right.
        self.version = next(_versions)
        self.uids = array("I")
        self.watchers: set[Watcher] = set()
        self._modseqs, self._dates, self._octets = array("Q"), array("q"), array("Q")
        self._highs, self._lows, self._flags = array("Q"), array("Q"), array("I")
        self.flag_sets: list[tuple[str, ...]] = []
        # Keywords that occur, by their names in lower case; the version counts how often there were new ones.
        self.keywords: dict[str, str] = {}
        self.keywords_version = 0
        self._rendered: list[bytes] = []
        self._numbers: dict[tuple[str, ...], int] = {}
        self._append(rows)

    def __len__(self) -> int:
        return len(self.uids)

    @property
    def memory_octets(self) -> int:
        """About what it takes."""
        return 48 * len(self.uids) + 200 * len(self.flag_sets)

    @property
    def octets(self) -> Sequence[int]:
        """The size of each message."""
        return self._octets

    @property
    def internal_dates(self) -> Sequence[int]:
        """Of each message, in seconds since the epoch."""
        return self._dates

    @property
    def flag_numbers(self) -> Sequence[int]:
        """Of each message the place of its flags in `flag_sets`."""
        return self._flags

    def place(self, uid: int) -> int | None:
        """Where the message stands, from 0; None: it isn't there."""
        at = bisect_left(self.uids, uid)
        return at if at < len(self.uids) and self.uids[at] == uid else None

    def message(self, uid: int) -> Message | None:
        at = self.place(uid)
        return None if at is None else self._message(at)

    def _message(self, at: int) -> Message:
        flags, blob = self.flag_sets[self._flags[at]], self._highs[at] << 64 | self._lows[at]
        return Message(self.uids[at], flags, self._dates[at], self._octets[at], blob, self._modseqs[at])

    def modseq_of(self, uid: int) -> int:
        """0: it isn't there."""
        at = self.place(uid)
        return 0 if at is None else self._modseqs[at]

    def flags_of(self, uid: int) -> tuple[str, ...]:
        """None of a message that isn't there."""
        at = self.place(uid)
        return () if at is None else self.flag_sets[self._flags[at]]

    def changed_since(self, modseq: int) -> Iterator[int]:
        """Uids of messages with a greater modseq."""
        return compress(self.uids, (own > modseq for own in self._modseqs))

    def first_without(self, flag: str, count: int) -> int | None:
        """The place of the first of `count` messages without a flag, given in lower case."""
        places = []
        for number, flags in enumerate(self.flag_sets):
            if not any(own.lower() == flag for own in flags):
                try:
                    places.append(self._flags.index(number, 0, count))
                except ValueError:
                    continue
        return min(places, default=None)

    def rendered_flags(self, at: int) -> bytes:
        """The flags of the message at a place, in parentheses."""
        return self._rendered[self._flags[at]]

    def column(self, name: str, places: Sequence[int]) -> Iterator[int] | Iterator[bytes]:
        """What FETCH calls `name` (one of `view.COLUMNS`) of the messages at these places."""
        match name:
            case "UID":
                return map(self.uids.__getitem__, places)
            case "FLAGS":
                return map(self._rendered.__getitem__, map(self._flags.__getitem__, places))
            case "MODSEQ":
                return map(self._modseqs.__getitem__, places)
            case "RFC822.SIZE":
                return map(self._octets.__getitem__, places)
            case "INTERNALDATE":
                return map(render_date_time, map(self._dates.__getitem__, places))
        raise ValueError(name)

    # Changes

    def absorb(self, rows: Rows, removed: Iterable[int], modseq: int) -> None:
        """Take in what changed up to `modseq`; all views are told."""
        gone = self._remove(removed)
        numbers = self._known(rows.flag_sets)
        changed = []
        first_new = len(rows.uids)
        last = self.uids[-1] if self.uids else 0
        for row, uid in enumerate(rows.uids):
            if uid > last:
                first_new = row
                break
            at = self.place(uid)
            if at is None:
                continue  # removed after it had changed
            self._modseqs[at] = rows.modseqs[row]
            if self._flags[at] != (number := numbers[rows.flags[row]]):
                self._flags[at] = number
                changed.append(uid)
        self._append(rows.starting_at(first_new))
        self.modseq = max(self.modseq, modseq)
        if gone or rows.uids:
            self.version = next(_versions)
        if len(self.flag_sets) > MAX_UNUSED_SETS + len(self.uids):
            self._clear_out()
        for watcher in self.watchers:
            watcher.note(changed, gone)

    def _append(self, rows: Rows) -> None:
        numbers = self._known(rows.flag_sets)
        self.uids = _extended(self.uids, rows.uids)
        self._modseqs = _extended(self._modseqs, rows.modseqs)
        self._dates = _extended(self._dates, rows.internal_dates)
        self._octets = _extended(self._octets, rows.octets)
        self._highs = _extended(self._highs, rows.blob_highs)
        self._lows = _extended(self._lows, rows.blob_lows)
        is_as_here = numbers == list(range(len(numbers)))  # as a rule, of a whole mailbox
        flags = rows.flags if is_as_here else [numbers[number] for number in rows.flags]
        self._flags = _extended(self._flags, flags)

    def _known(self, flag_sets: Sequence[Sequence[str]]) -> list[int]:
        """Our numbers of these sets; the same flags in another order are the same set."""
        found = []
        for flags in flag_sets:
            key = tuple(sorted(flags))
            number = self._numbers.get(key)
            if number is None:
                number = self._numbers[key] = len(self.flag_sets)
                self.flag_sets.append(tuple(flags))
                self._rendered.append(render.flags(flags))
                self._learn(flags)
            found.append(number)
        return found

    def _learn(self, flags: Sequence[str]) -> None:
        new = {flag.lower(): flag for flag in flags if not flag.startswith("\\") and flag.lower() not in self.keywords}
        if new:
            self.keywords |= new
            self.keywords_version += 1

    def _clear_out(self) -> None:
        """Number the sets anew that messages have."""
        used = [self.flag_sets[number] for number in sorted(set(self._flags))]
        old = {number: tuple(sorted(self.flag_sets[number])) for number in set(self._flags)}
        self.flag_sets, self._rendered, self._numbers, self.keywords = [], [], {}, {}
        self._known(used)
        self._flags = array("I", [self._numbers[old[number]] for number in self._flags])

    def _remove(self, uids: Iterable[int]) -> list[Message]:
        places = sorted(at for uid in set(uids) if (at := self.place(uid)) is not None)
        if not places:
            return []
        gone = [self._message(at) for at in places]
        self.uids = self.uids[:]
        columns = (self.uids, self._modseqs, self._dates, self._octets, self._highs, self._lows, self._flags)
        if len(places) <= _FEW:
            for at in reversed(places):
                for column in columns:
                    del column[at]
            return gone
        kept = bytearray(b"\x01") * len(self.uids)
        for at in places:
            kept[at] = 0
        for column in columns:
            column[:] = array(column.typecode, compress(column, kept))
        return gone


def _extended(column: array[int], more: Sequence[int]) -> array[int]:
    """In place, so that views that have it see it too; one that is empty may become the other."""
    if not column and isinstance(more, array) and more.typecode == column.typecode:
        return more
    column.extend(more)
    return column
