"""Texts of messages in SQL over `message_text` as t: by the numbers that the index has of them, or by reading.

`t.words` has the ids of words, `t.marks` what these don't tell: which stand side by side (`junctions`), and which are
in a field of `marks.FIELDS`. Where these decide, an expression over `message` as m comes out. Else they only say which
texts to look into: a `Reading`, whose result the expression names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from mail_proto.message.search_text import OPAQUE_FIELDS
from store_api.search import marks
from store_api.search.junctions import Places, places_of
from store_api.search.parsing import VERSION
from store_api.search.texts import Bind, in_field, in_halves
from store_api.search.words import Clue, Needle, joined_clues, needle

# An index scan for the numbers of one list takes time in proportion to numbers × hits: short lists, joined by OR. For
# the 387 words with "ing" in 100,000 messages 80 ms of CPU by 8, 190 by 64, 440 at once.
NUMBERS_OF_SCAN: Final = 8
# Of several lists, all in one scan: finding what has a number of a longer one takes longer than reading more texts.
FEW_NUMBERS: Final = 64

# Of halves that many words have: as many as are looked for among marks.
MAX_ADDRESSES: Final = 4_096

Ids = Mapping[Clue, list[int] | None]

_NOTHING: Final = Needle("", (), is_exact=True)

_ALL: Final = "t.account_id = :account_id"
# Too many different words; indexed by code that knew no marks, which is done anew by and by.
_UNWORDED: Final = "t.account_id = :account_id AND t.words IS NULL"
_UNMARKED: Final = "t.account_id = :account_id AND t.marks IS NULL"
_OLD: Final = (_UNWORDED, _UNMARKED)
# Indexed by code that knew less of compounds and addresses: the same.
_UNJOINED: Final = f"t.account_id = :account_id AND t.version < {VERSION}"


@dataclass(frozen=True, slots=True)
class Reading:
    """Texts to look into. `candidates`: which ones, each a condition; `found`: whether it is in there; `name`: of the
    value that is to be bound to the ids of their blobs.
    """

    name: str
    candidates: Sequence[str]
    found: str


def clues_of_text(text: str, *, by_old: bool) -> Sequence[Clue]:
    joined = joined_clues(text)
    return (*joined, *(needle(text).clues if text and (by_old or not joined) else ()))


def clues_of_header(name: str, text: str) -> Sequence[Clue]:
    """The words of a field's name stand in the header as they are, from the start of a line to a colon."""
    if name in OPAQUE_FIELDS:
        return ()
    named = () if name in marks.FIELDS else (c for c in needle(f"\n{name}:").clues if c.place == "whole")
    return (*named, *(needle(text).clues if text else ()))


class Contents:
    """Makes expressions of folded texts; `bind` gives a value a name. `readings` are to be done before.

    `by_old`: some of the account's messages were indexed by code that knew less of compounds and addresses.
    """

    def __init__(self, account_id: UUID, ids: Ids, bind: Bind, *, by_old: bool) -> None:
        self._account_id, self._ids, self._bind, self._by_old = account_id, ids, bind, by_old
        self.readings: list[Reading] = []
        self.is_used = False

    def in_text(self, wanted: Needle, *, header_too: bool) -> str:
        """Of more than a pair of letters."""
        signs = (1, -1) if header_too else (1,)
        in_body, in_header = in_halves(wanted.text, self._bind)
        found = f"({in_body} OR {in_header})" if header_too else in_body
        places = places_of(wanted.text)
        if joined := joined_clues(wanted.text):
            return self._in_joined(joined, wanted, signs, found)
        if places.decide:
            return f"({_listed(self._having((), places, signs))} OR {self._read(_OLD, found)})"
        if wanted.is_exact and (having := self._having(wanted.clues, places, signs)):
            return f"({_listed(having)} OR {_listed(f'{_UNWORDED} AND {found}')})"
        # Only the half of a message is read that has all of it.
        halves = [(1, in_body), (-1, in_header)][: len(signs)]
        return f"({' OR '.join(self._in_half(wanted.clues, places, sign, found) for sign, found in halves)})"

    def _in_joined(self, joined: Sequence[Clue], wanted: Needle, signs: Sequence[int], found: str) -> str:
        decided, read = [_listed(f"{_UNWORDED} AND {found}")], []
        lists = [ids for clue in joined if (ids := self._ids[clue]) is not None]
        if len(joined) == len(lists) == 1:
            decided.append(_listed(self._have("words", [_signed(lists[0], signs)])))
        elif len(joined) == len(lists) == 2 and len(lists[0]) * len(lists[1]) <= MAX_ADDRESSES:
            decided.append(_listed(self._have("marks", [_signed(marks.of_addresses(*lists), signs)])))
        else:
            read.append(self._have("words", [_signed(ids, signs) for ids in lists]) or _ALL)
        if self._by_old:
            # All that have the words, whatever code indexed them: with the version in the condition Postgres would look
            # for that alone, and read the words of each message (8.4 s of CPU for 100,000, now 2.2).
            read.append(self._having(wanted.clues, places_of(wanted.text), signs) or _UNJOINED)
        return f"({' OR '.join([*decided, *([self._read(read, found)] if read else [])])})"

    def _in_half(self, clues: Sequence[Clue], places: Places, sign: int, found: str) -> str:
        having = self._having(clues, places, (sign,))
        return self._read((having, *_OLD) if having else (_ALL,), found)

    def in_header(self, name: str, text: str) -> str:
        """The field has no column."""
        found = in_field(name, text, self._bind)
        if name in OPAQUE_FIELDS:
            return self._read((_ALL,), found)
        places = places_of(text)
        if (field := marks.FIELDS.get(name)) is None:
            return self._in_half(clues_of_header(name, text), places, -1, found)
        wanted = needle(text) if text else _NOTHING
        known = [ids for clue in wanted.clues if (ids := self._ids[clue]) is not None]
        # The field has these words; or it is there at all.
        in_fields = [[marks.of_field(field, number) for number in ids] for ids in known or [[0]]]
        of_field = self._have("marks", in_fields)
        if wanted.is_exact and wanted.pair is None and len(known) == len(wanted.clues):
            return f"({_listed(of_field)} OR {self._read(_OLD, found)})"
        having = self._have("marks", [*in_fields, *self._joined(places, (-1,))])
        return self._read((having, *_OLD), found)

    # Which texts

    def _having(self, clues: Iterable[Clue], places: Places, signs: Sequence[int]) -> str:
        """Which have words side by side as they are in these places, or else these words; empty: nothing is known.

        Never by both columns: Postgres would look the one up and then read the other from outside of the row.
        """
        words = [_signed(ids, signs) for clue in clues if (ids := self._ids[clue]) is not None]
        if not all(words):
            return "FALSE"
        joined = self._joined(places, signs)
        return self._have("marks", joined) if joined else self._have("words", words)

    def _joined(self, places: Places, signs: Sequence[int]) -> list[list[int]]:
        return [_signed(marks.of_junctions(self._account_id, numbers), signs) for numbers in places.numbers]

    def _have(self, column: str, lists: Sequence[list[int]]) -> str:
        """Which have a number of each list. Several lists are one scan only without OR."""
        self.is_used = True
        if not all(lists):
            return "FALSE"
        ordered = sorted(lists, key=len)
        # Ids belong to one account, so the account needn't be compared here, where it would mislead the planner.
        if len(ordered) > 1 and len(ordered[1]) <= FEW_NUMBERS:
            few = [numbers for numbers in ordered if len(numbers) <= FEW_NUMBERS]
            return " AND ".join(f"t.{column} && {self._bind(numbers, 'bigint[]')}" for numbers in few)
        least = ordered[0] if ordered else []
        scans = [least[at : at + NUMBERS_OF_SCAN] for at in range(0, len(least), NUMBERS_OF_SCAN)]
        return " OR ".join(f"t.{column} && {self._bind(scan, 'bigint[]')}" for scan in scans)

    def _read(self, candidates: Sequence[str], found: str) -> str:
        self.is_used = True
        name = f"r{len(self.readings)}"
        self.readings.append(Reading(name, candidates, found))
        return f"m.blob_id IN (SELECT unnest(CAST(:{name} AS uuid[])))"


def _listed(where: str) -> str:
    return f"m.blob_id IN (SELECT t.blob_id FROM message_text t WHERE {where})"


def _signed(numbers: Sequence[int], signs: Sequence[int]) -> list[int]:
    """Those of the header are negative."""
    return [sign * number for number in numbers for sign in signs]
