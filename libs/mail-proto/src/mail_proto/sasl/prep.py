"""SASLprep (RFC 4013): the form in which names and passwords are compared.

Passwords that look alike on two keyboards become the same octets. Python's `stringprep` has the tables of RFC 3454.
"""

from __future__ import annotations

import stringprep
import unicodedata
from collections.abc import Callable
from typing import Final

from mail_proto.sasl.errors import SaslFault

# RFC 4013 §2.3: prohibited output.
_PROHIBITED: Final[tuple[Callable[[str], bool], ...]] = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def saslprep(text: str, *, stored: bool = False) -> str:
    """The prepared string; `stored` refuses code points that Unicode 3.2 hasn't assigned (RFC 4013 §2.5).

    Raises SaslFault: it has a prohibited character, or mixes directions (RFC 3454 §6).
    """
    if text.isascii() and text.isprintable():
        return text
    # RFC 4013 §2.1: other spaces become a space, what is commonly mapped to nothing goes.
    mapped = "".join(" " if stringprep.in_table_c12(c) else c for c in text if not stringprep.in_table_b1(c))
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    for character in prepared:
        if any(table(character) for table in _PROHIBITED):
            raise SaslFault("a prohibited character")
        if stored and stringprep.in_table_a1(character):
            raise SaslFault("an unassigned character")
    _check_directions(prepared)
    return prepared


def _check_directions(text: str) -> None:
    """RFC 3454 §6: with one right-to-left character, no left-to-right one, and such at both ends."""
    if not any(stringprep.in_table_d1(character) for character in text):
        return
    if any(stringprep.in_table_d2(character) for character in text):
        raise SaslFault("it mixes directions")
    if not (stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])):
        raise SaslFault("right-to-left text must begin and end so")
