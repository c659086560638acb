"""Texts of messages in SQL over `message_text` as t: by the numbers that the index has of them, or by reading.

`t.words` has the ids of words, `t.marks` what these don't tell: which stand side by side (`junctions`), and which are
in a field of `marks.FIELDS`. Where these decide, an expression over `message` as m comes out. Else they only say which
texts to look into: a `Reading`, whose result the expression names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from mail_proto.message.search_text import OPAQUE_FIELDS
from store_api.search import marks
from store_api.search.junctions import Places, places_of
from store_api.search.words import Clue, Needle, needle

# An index scan for the numbers of one list takes time in proportion to numbers × hits: short lists, joined by OR. For
# the 387 words with "ing" in 100,000 messages 80 ms of CPU by 8, 190 by 64, 440 at once.
NUMBERS_OF_SCAN: Final = 8
# Of a needle with several clues: finding the texts with one of more words takes longer than reading some more texts.
FEW_WORDS: Final = 500

Ids = Mapping[Clue, list[int] | None]
Bind = Callable[[Any, str], str]

_NOTHING: Final = Needle("", (), is_exact=True)

_ALL: Final = "t.account_id = :account_id"
# Too many different words.
_UNWORDED: Final = "(t.account_id = :account_id AND t.words IS NULL)"
# Or indexed by code that knew no marks: those are made anew by and by.
_UNMARKED: Final = f"({_UNWORDED} OR (t.account_id = :account_id AND t.marks IS NULL))"


@dataclass(frozen=True, slots=True)
class Reading:
    """Texts to look into. `candidates`, `found`: which ones, and whether it is in there; `name`: of the value that is
    to be bound to the ids of their blobs.
    """

    name: str
    candidates: str
    found: str


def clues_of_text(text: str) -> Sequence[Clue]:
    return needle(text).clues if text else ()


def clues_of_header(name: str, text: str) -> Sequence[Clue]:
    """The words of a field's name stand in the header as they are, from the start of a line to a colon."""
    if name in OPAQUE_FIELDS:
        return ()
    named = () if name in marks.FIELDS else (c for c in needle(f"\n{name}:").clues if c.place == "whole")
    return (*named, *clues_of_text(text))


class Contents:
    """Makes expressions of folded texts; `bind` gives a value a name. `readings` are to be done before."""

    def __init__(self, account_id: UUID, ids: Ids, bind: Bind) -> None:
        self._account_id, self._ids, self._bind = account_id, ids, bind
        self.readings: list[Reading] = []
        self.is_used = False

    def in_text(self, wanted: Needle, *, header_too: bool) -> str:
        """Of more than a pair of letters."""
        signs = (1, -1) if header_too else (1,)
        bound = self._bind(wanted.text, "text")
        in_body = _contains("t.body", bound)
        in_header = f"({_contains('t.header', bound)} OR {_contains('t.parts', bound)})"
        found = f"({in_body} OR {in_header})" if header_too else in_body
        places = places_of(wanted.text)
        if places.decide:
            return f"({_listed(self._having((), places, signs))} OR {self._read(_UNMARKED, found)})"
        if wanted.is_exact and (having := self._having(wanted.clues, places, signs)):
            return f"({_listed(having)} OR {_listed(f'{_UNWORDED} AND {found}')})"
        # Only the half of a message is read that has all of it.
        halves = [(1, in_body), (-1, in_header)][: len(signs)]
        return f"({' OR '.join(self._in_half(wanted.clues, places, sign, found) for sign, found in halves)})"

    def _in_half(self, clues: Sequence[Clue], places: Places, sign: int, found: str) -> str:
        having = self._having(clues, places, (sign,))
        return self._read(f"({having}) OR {_UNMARKED}" if having else _ALL, found)

    def in_header(self, name: str, text: str) -> str:
        """The field has no column."""
        column = "opaque" if name in OPAQUE_FIELDS else "header"
        start = f"{name}: "
        found = (
            f"EXISTS (SELECT 1 FROM string_to_table(t.{column}, E'\\n') AS line"
            f" WHERE starts_with(line, {self._bind(start, 'text')})"
            f" AND {_contains(f'substr(line, {len(start) + 1})', self._bind(text, 'text'))})"
        )
        if name in OPAQUE_FIELDS:
            return self._read(_ALL, found)
        places = places_of(text)
        if (field := marks.FIELDS.get(name)) is None:
            return self._in_half(clues_of_header(name, text), places, -1, found)
        wanted = needle(text) if text else _NOTHING
        known = [ids for clue in wanted.clues if (ids := self._ids[clue]) is not None]
        # The field has these words; or it is there at all.
        of_field = [self._have("marks", [marks.of_field(field, number) for number in ids]) for ids in known or [[0]]]
        if wanted.is_exact and wanted.pair is None and len(known) == len(wanted.clues):
            return f"({_listed(' AND '.join(of_field))} OR {self._read(_UNMARKED, found)})"
        having = " AND ".join([*of_field, *self._joined(places, (-1,))])
        return self._read(f"({having}) OR {_UNMARKED}", found)

    # Which texts

    def _having(self, clues: Iterable[Clue], places: Places, signs: Sequence[int]) -> str:
        """Which have all this; empty: nothing is known that says enough."""
        joined = self._joined(places, signs)
        of_clues = [ids for clue in clues if clue.text not in places.covered and (ids := self._ids[clue]) is not None]
        few = [ids for ids in of_clues if len(ids) <= FEW_WORDS]
        if not few and not joined:
            few = sorted(of_clues, key=len)[:1]
        return " AND ".join([*(self._have("words", _signed(ids, signs)) for ids in few), *joined])

    def _joined(self, places: Places, signs: Sequence[int]) -> list[str]:
        """Which have words side by side as they are in these places."""
        of_places = (_signed(marks.of_junctions(self._account_id, numbers), signs) for numbers in places.numbers)
        return [self._have("marks", numbers) for numbers in of_places]

    def _have(self, column: str, numbers: Sequence[int]) -> str:
        self.is_used = True
        if not numbers:
            return "FALSE"
        # Ids belong to one account, so the account needn't be compared here, where it would mislead the planner.
        scans = [numbers[at : at + NUMBERS_OF_SCAN] for at in range(0, len(numbers), NUMBERS_OF_SCAN)]
        return f"({' OR '.join(f't.{column} && ' + self._bind(scan, 'bigint[]') for scan in scans)})"

    def _read(self, candidates: str, found: str) -> str:
        self.is_used = True
        name = f"r{len(self.readings)}"
        self.readings.append(Reading(name, candidates, found))
        return f"m.blob_id IN (SELECT unnest(CAST(:{name} AS uuid[])))"


def _listed(where: str) -> str:
    return f"m.blob_id IN (SELECT t.blob_id FROM message_text t WHERE {where})"


def _signed(numbers: Sequence[int], signs: Sequence[int]) -> list[int]:
    """Those of the header are negative."""
    return [sign * number for number in numbers for sign in signs]


def _contains(column: str, bound: str) -> str:
    return f"strpos({column}, {bound}) > 0"
