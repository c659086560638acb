"""Search keys to SQL over `message` as m, `message_field` as f and `message_text` (docs/decisions/0010).

Each key becomes a boolean expression that is never NULL; of messages that aren't indexed, what would need the index is
NULL instead, so that three-valued logic says which of them are decided without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final, assert_never

from asyncpg import Range

from mail_proto.fold import fold
from mail_runtime.contracts.store import search as wire
from store_api.mailboxes.flag_names import SYSTEM_FLAGS
from store_api.search.contents import Contents, Reading, clues_of_header, clues_of_text
from store_api.search.fields import NAMED
from store_api.search.texts import Bind, Texts
from store_api.search.words import Clue, joined_clues, needle

UNKNOWN: Final = "CAST(NULL AS boolean)"
_BIGINT: Final = 1 << 62


def is_joined(key: wire.SearchKey) -> bool:
    """Whether compounds or addresses decide about anything in it."""
    return any(isinstance(inner, wire.InText) and joined_clues(fold(inner.text)) for inner, _ in wire.walk(key))


def clues_of(key: wire.SearchKey, *, by_old: bool) -> Iterator[Clue]:
    """What `find_words` must look up before the key can be compiled; `by_old`: see `Contents`."""
    for inner, _ in wire.walk(key):
        match inner:
            case wire.InText(text):
                yield from clues_of_text(fold(text), by_old=by_old)
            case wire.InHeader(name, text) if fold(name) not in NAMED:
                yield from clues_of_header(fold(name), fold(text))


def _parts(key: wire.SearchKey) -> Iterator[wire.SearchKey]:
    """What must all be true."""
    if isinstance(key, wire.AllOf):
        for inner in key.keys:
            yield from _parts(inner)
    else:
        yield key


def needs_index(key: wire.SearchKey) -> bool:
    """Whether anything in it is about contents."""
    return any(
        isinstance(inner, wire.InText | wire.InHeader) or (isinstance(inner, wire.Day) and inner.of == "sent")
        for inner, _ in wire.walk(key)
    )


class Compiler:
    """Makes expressions; `values` are to be bound. `contents`: how texts are found; None: of messages without index."""

    def __init__(self, contents: Callable[[Bind], Contents | Texts] | None, now: int) -> None:
        self._now = now
        self.values: dict[str, Any] = {}
        self.uses_fields = False  # whether there is an `f` in what was made
        self.contents = None if contents is None else contents(self._bind)
        self.bounds: list[str] = []  # see `whole`

    @property
    def readings(self) -> Sequence[Reading]:
        """What must be done before the expression can be evaluated."""
        return self.contents.readings if self.contents else ()

    @property
    def uses_texts(self) -> bool:
        return self.contents is not None and self.contents.is_used

    def _bind(self, value: Any, kind: str) -> str:
        name = f"v{len(self.values)}"
        self.values[name] = value
        return f"CAST(:{name} AS {kind})"

    def whole(self, key: wire.SearchKey) -> str:
        """The expression of a program. Those of its parts that are decided without fields and readings become `bounds`:
        only what is within them needs to be read.
        """
        parts = []
        for part in sorted(_parts(key), key=needs_index):
            readings, uses_fields, self.uses_fields = len(self.readings), self.uses_fields, False
            parts.append(self.expression(part))
            if not self.uses_fields and len(self.readings) == readings:
                self.bounds.append(parts[-1])
            self.uses_fields |= uses_fields
        return f"({' AND '.join(parts)})" if parts else "TRUE"

    def expression(self, key: wire.SearchKey) -> str:
        match key:
            case wire.Everything():
                return "TRUE"
            case wire.Uids(ranges):
                return self._uids(ranges)
            case wire.HasFlag(flag):
                return self._flag(flag)
            case wire.Size(larger, smaller):
                return self._between("m.octets", _next(larger), smaller)
            case wire.Day(of, first, end):
                return self._day(of, first, end)
            case wire.Arrived(first_s, end_s):
                return self._between("m.internal_date", first_s, end_s)
            case wire.Age(seconds, older):
                limit = self._bind(self._now - seconds, "bigint")
                return f"m.internal_date {'<=' if older else '>='} {limit}"
            case wire.Changed(since):
                return f"m.modseq >= {self._bind(min(since, _BIGINT), 'bigint')}"
            case wire.HasId(of, wanted):
                return f"coalesce(m.{of}_id = {self._bind(wanted, 'uuid')}, FALSE)"
            case wire.InMailboxes(ids):
                return f"m.mailbox_id = ANY ({self._bind(ids, 'uuid[]')})"
            case wire.Not(inner):
                return f"NOT ({self.expression(inner)})"
            case wire.AnyOf(keys):
                return self._joined(keys, " OR ", "FALSE")
            case wire.AllOf(keys):
                return self._joined(keys, " AND ", "TRUE")
            case wire.InHeader(name, text):
                return self._in_header(self.contents, fold(name), fold(text)) if self.contents else UNKNOWN
            case wire.InText(text, header_too):
                return self._in_text(self.contents, fold(text), header_too=header_too) if self.contents else UNKNOWN
        assert_never(key)

    def _joined(self, keys: Sequence[wire.SearchKey], word: str, nothing: str) -> str:
        # What needs no index comes first: Postgres evaluates in this order and stops when it knows.
        ordered = sorted(keys, key=needs_index)
        return f"({word.join(self.expression(inner) for inner in ordered)})" if ordered else nothing

    def _flag(self, flag: str) -> str:
        if flag.startswith("\\"):
            return f"{self._bind(SYSTEM_FLAGS.get(flag.lower(), flag), 'text')} = ANY (m.flags)"
        # Keywords are kept as they were written.
        return f"{self._bind(flag.lower(), 'text')} = ANY (CAST(lower(CAST(m.flags AS text)) AS text[]))"

    def _uids(self, ranges: Sequence[tuple[int, int]]) -> str:
        # A multirange is searched by halving, however many ranges there are.
        pairs = [Range(min(pair), min(max(pair), _BIGINT), upper_inc=True) for pair in ranges if min(pair) < _BIGINT]
        return f"m.uid <@ {self._bind(pairs, 'int8multirange')}"

    def _between(self, column: str, first: int | None, end: int | None) -> str:
        """`first` <= column < `end`."""
        limits = [] if first is None else [f"{column} >= {self._bind(min(first, _BIGINT), 'bigint')}"]
        limits += [] if end is None else [f"{column} < {self._bind(min(end, _BIGINT), 'bigint')}"]
        return f"({' AND '.join(limits)})" if limits else "TRUE"

    def _day(self, of: str, first: date | None, end: date | None) -> str:
        if of != "sent":
            return self._between(f"m.{of}_date", _midnight(first), _midnight(end))
        if self.contents is None:
            return UNKNOWN
        self.uses_fields = True
        limits = ["f.sent_day IS NOT NULL"]
        limits += [] if first is None else [f"f.sent_day >= {self._bind(first, 'date')}"]
        limits += [] if end is None else [f"f.sent_day < {self._bind(end, 'date')}"]
        return f"({' AND '.join(limits)})"

    # Contents

    def _in_header(self, contents: Contents | Texts, name: str, wanted: str) -> str:
        if ":" in name or any(char in name + wanted for char in "\n\0"):
            return "FALSE"  # no name has a colon, and values are on one line
        if name not in NAMED:
            return contents.in_header(name, wanted)
        self.uses_fields = True
        column = f'f."{name}"'
        if not wanted:
            return f"{column} IS NOT NULL"
        return f"coalesce(strpos({column}, {self._bind(wanted, 'text')}) > 0, FALSE)"

    def _in_text(self, contents: Contents | Texts, text: str, *, header_too: bool) -> str:
        if not text:
            return "TRUE"
        if "\0" in text:
            return "FALSE"  # neither do texts have them
        wanted = needle(text)
        if wanted.pair is None:
            return contents.in_text(wanted, header_too=header_too)
        self.uses_fields = True
        columns = ("body_pairs", "header_pairs") if header_too else ("body_pairs",)
        bit = self._bind(wanted.pair, "integer")
        return f"coalesce({' OR '.join(f'get_bit(f.{column}, {bit}) = 1' for column in columns)}, FALSE)"


def _next(number: int | None) -> int | None:
    return None if number is None else number + 1


def _midnight(day: date | None) -> int | None:
    return None if day is None else int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
