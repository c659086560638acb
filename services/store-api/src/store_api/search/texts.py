"""Texts of messages in SQL over `message_text` as t: what is in one, and looking into that of each message.

Looking is what a search in few messages does (`Texts`): no words are looked up, and the statement is the same for all
needles. Of many messages the index tells where to look (`contents`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from mail_proto.message.search_text import OPAQUE_FIELDS
from store_api.search.words import Needle, pair_bits

Bind = Callable[[Any, str], str]

# Ours: pairs of letters that a text must have before it is read. More tell little more.
MAX_PAIRS: Final = 8

_OF_MESSAGE: Final = "t.account_id = m.account_id AND t.blob_id = m.blob_id"


def contains(column: str, bound: str) -> str:
    return f"strpos({column}, {bound}) > 0"


def in_halves(text: str, bind: Bind) -> tuple[str, str]:
    """Whether the body has a folded text, and whether the header or that of a part has it."""
    bound = bind(text, "text")
    return contains("t.body", bound), f"({contains('t.header', bound)} OR {contains('t.parts', bound)})"


def in_field(name: str, text: str, bind: Bind) -> str:
    """Whether a field of that name contains a folded text."""
    column, start = "opaque" if name in OPAQUE_FIELDS else "header", f"{name}: "
    value = f"substr(line, {bind(len(start) + 1, 'integer')})"
    return (
        f"EXISTS (SELECT 1 FROM string_to_table(t.{column}, E'\\n') AS line"
        f" WHERE starts_with(line, {bind(start, 'text')}) AND {contains(value, bind(text, 'text'))})"
    )


class Texts:
    """Makes expressions over `message` as m and `message_field` as f that look into the text of each message."""

    readings: Final = ()

    def __init__(self, bind: Bind) -> None:
        self._bind = bind
        self.is_used = False

    def in_text(self, wanted: Needle, *, header_too: bool) -> str:
        """Only texts are read that have the pairs of letters of the needle."""
        self.is_used = True
        in_body, in_header = in_halves(wanted.text, self._bind)
        bits = [self._bind(bit, "integer") for bit in pair_bits(wanted.text)[:MAX_PAIRS]]
        halves = [("body_pairs", in_body), ("header_pairs", in_header)][: 2 if header_too else 1]
        return f"({' OR '.join(_having(column, bits, found) for column, found in halves)})"

    def in_header(self, name: str, text: str) -> str:
        """The field has no column."""
        self.is_used = True
        return _in_text_of_message(in_field(name, text, self._bind))


def _having(column: str, bits: Sequence[str], found: str) -> str:
    paired = [f"get_bit(f.{column}, {bit}) = 1" for bit in bits]
    return f"({' AND '.join([*paired, _in_text_of_message(found)])})"


def _in_text_of_message(found: str) -> str:
    # A scalar subquery stays a look at the primary key where it is needed; EXISTS may become a hash of all texts.
    return f"coalesce((SELECT {found} FROM message_text t WHERE {_OF_MESSAGE}), FALSE)"
