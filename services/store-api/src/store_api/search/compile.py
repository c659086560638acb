"""Search keys to SQL over `message` as m, `message_field` as f and `message_text` (docs/decisions/0010).

Each key becomes a boolean expression that is never NULL; of messages that aren't indexed, what would need the index is
NULL instead, so that three-valued logic says which of them are decided without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final, assert_never

from asyncpg import Range

from mail_proto.fold import fold
from mail_proto.message.search_text import OPAQUE_FIELDS
from mail_runtime.contracts.store import search as wire
from store_api.mailboxes.flags import SYSTEM_FLAGS
from store_api.search.fields import NAMED
from store_api.search.words import Clue, Needle, needle

# An index scan for the words of one list takes time in proportion to words × hits: short lists, joined by OR.
WORDS_OF_SCAN: Final = 64
UNKNOWN: Final = "CAST(NULL AS boolean)"
_BIGINT: Final = 1 << 62

Ids = Mapping[Clue, list[int] | None]


def clues_of(key: wire.SearchKey) -> Iterator[Clue]:
    """What `find_words` must look up before the key can be compiled."""
    for inner, _ in wire.walk(key):
        match inner:
            case wire.InText(text):
                yield from _needle(text).clues
            case wire.InHeader(name, text):
                yield from _header_clues(fold(name), text)


def needs_index(key: wire.SearchKey) -> bool:
    """Whether anything in it is about contents."""
    return any(
        isinstance(inner, wire.InText | wire.InHeader) or (isinstance(inner, wire.Day) and inner.of == "sent")
        for inner, _ in wire.walk(key)
    )


def _needle(text: str) -> Needle:
    folded = fold(text)
    return needle(folded) if folded else Needle("", ())


def _header_clues(name: str, text: str) -> list[Clue]:
    """The words of a field's name stand in the header as they are, from the start of a line to a colon."""
    if name in NAMED or name in OPAQUE_FIELDS:
        return []
    named = [Clue(clue.text, "whole") for clue in needle(f"\n{name}:").clues if clue.place == "whole"]
    return [*named, *_needle(text).clues]


class Compiler:
    """Makes expressions; `values` are to be bound. `ids` None: for messages without index."""

    def __init__(self, ids: Ids | None, now: int) -> None:
        self._ids, self._now = ids, now
        self.values: dict[str, Any] = {}
        # Whether there is an `f` in what was made, whether `message_text` is used at all, and whether texts are read.
        self.uses_fields = self.uses_texts = self.reads_texts = False

    def _bind(self, value: Any, kind: str) -> str:
        name = f"v{len(self.values)}"
        self.values[name] = value
        return f"CAST(:{name} AS {kind})"

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
                return UNKNOWN if self._ids is None else self._in_header(self._ids, fold(name), text)
            case wire.InText(text, header_too):
                return UNKNOWN if self._ids is None else self._in_text(self._ids, text, header_too=header_too)
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
        if self._ids is None:
            return UNKNOWN
        self.uses_fields = True
        limits = ["f.sent_day IS NOT NULL"]
        limits += [] if first is None else [f"f.sent_day >= {self._bind(first, 'date')}"]
        limits += [] if end is None else [f"f.sent_day < {self._bind(end, 'date')}"]
        return f"({' AND '.join(limits)})"

    # Contents

    def _in_header(self, ids: Ids, name: str, text: str) -> str:
        wanted = fold(text)
        if ":" in name or any(char in name + wanted for char in "\n\0"):
            return "FALSE"  # no name has a colon, and values are on one line
        if name in NAMED:
            self.uses_fields = True
            column = f'f."{name}"'
            return (
                f"coalesce({_contains(column, self._bind(wanted, 'text'))}, FALSE)"
                if wanted
                else f"{column} IS NOT NULL"
            )
        column = "opaque" if name in OPAQUE_FIELDS else "header"
        start = f"{name}: "
        found = (
            f"EXISTS (SELECT 1 FROM string_to_table(t.{column}, E'\\n') AS line"
            f" WHERE starts_with(line, {self._bind(start, 'text')})"
            f" AND {_contains(f'substr(line, {len(start) + 1})', self._bind(wanted, 'text'))})"
        )
        return self._read(self._candidates(ids, _header_clues(name, text), (-1,)), found)

    def _in_text(self, ids: Ids, text: str, *, header_too: bool) -> str:
        wanted = _needle(text)
        if not wanted.text:
            return "TRUE"
        if "\0" in wanted.text:
            return "FALSE"  # neither do texts have them
        if wanted.pair is not None:
            self.uses_fields = True
            columns = ("body_pairs", "header_pairs") if header_too else ("body_pairs",)
            bit = self._bind(wanted.pair, "integer")
            return f"coalesce({' OR '.join(f'get_bit(f.{column}, {bit}) = 1' for column in columns)}, FALSE)"
        bound = self._bind(wanted.text, "text")
        in_body = _contains("t.body", bound)
        in_header = f"({_contains('t.header', bound)} OR {_contains('t.parts', bound)})"
        found = f"({in_body} OR {in_header})" if header_too else in_body
        candidates = self._candidates(ids, wanted.clues, (1, -1) if header_too else (1,))
        if candidates is None:
            return self._read(None, found)
        if wanted.is_exact:
            unworded = f"t.account_id = :account_id AND t.words IS NULL AND {found}"
            return f"({candidates} OR m.blob_id IN (SELECT t.blob_id FROM message_text t WHERE {unworded}))"
        if not header_too:
            return self._read(candidates, found)
        # Only the half of a message is read that has all the words.
        of_body = self._read(self._candidates(ids, wanted.clues, (1,)), in_body)
        of_header = self._read(self._candidates(ids, wanted.clues, (-1,)), in_header)
        return f"({of_header} OR {of_body})"

    def _candidates(self, ids: Ids, clues: Sequence[Clue], signs: Sequence[int]) -> str | None:
        """Which messages have words for all clues; None: there are no clues that say enough."""
        known = [found for clue in clues if (found := ids.get(clue)) is not None]
        if not known:
            return None
        if not all(known):
            return "FALSE"
        words = " AND ".join(self._has_words(found, signs) for found in known)
        # Ids belong to one account, so the account needn't be compared here, where it would mislead the planner.
        return f"m.blob_id IN (SELECT t.blob_id FROM message_text t WHERE {words})"

    def _has_words(self, ids: list[int], signs: Sequence[int]) -> str:
        self.uses_texts = True
        signed = [sign * number for number in ids for sign in signs]
        scans = [signed[at : at + WORDS_OF_SCAN] for at in range(0, len(signed), WORDS_OF_SCAN)]
        return f"({' OR '.join('t.words && ' + self._bind(scan, 'bigint[]') for scan in scans)})"

    def _read(self, candidates: str | None, found: str) -> str:
        """Look into the texts of the candidates, and of messages whose words aren't known.

        Neither subquery may become a join, which would read all texts first: CASE and scalar subqueries stay.
        """
        self.uses_texts = self.reads_texts = True
        where = "t.account_id = m.account_id AND t.blob_id = m.blob_id"
        reading = f"coalesce((SELECT {found} FROM message_text t WHERE {where}), FALSE)"
        if candidates is None:
            return reading
        unworded = "SELECT t.blob_id FROM message_text t WHERE t.account_id = :account_id AND t.words IS NULL"
        return f"(CASE WHEN {candidates} OR m.blob_id IN ({unworded}) THEN {reading} ELSE FALSE END)"


def _contains(column: str, bound: str) -> str:
    return f"strpos({column}, {bound}) > 0"


def _next(number: int | None) -> int | None:
    return None if number is None else number + 1


def _midnight(day: date | None) -> int | None:
    return None if day is None else int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
