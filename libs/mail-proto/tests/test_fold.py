"""Folding and order of texts, against i;unicode-casemap as RFC 5051 §2 defines it."""

from __future__ import annotations

import sys
import unicodedata

from mail_proto.fold import collated, fold


def casemap(text: str) -> str:
    """Title case by the simple mapping of each character, then its decomposition."""
    titles = (char.title() if len(char.title()) == 1 else char for char in text)
    return "".join(unicodedata.normalize("NFKD", char) for char in titles)


def test_what_the_collation_takes_for_the_same_is_the_same() -> None:
    """All of Unicode: SEARCH finds at least what RFC 5255 §4.2 wants."""
    found: dict[str, str] = {}
    for number in range(sys.maxunicode + 1):
        if 0xD800 <= number < 0xE000:
            continue
        char = chr(number)
        assert found.setdefault(casemap(char), fold(char)) == fold(char), hex(number)


def test_what_else_is_the_same() -> None:
    assert fold("STRASSE") == fold("Straße")
    assert fold("ISPARTA") == fold("ısparta")
    assert fold("ΣΊΣΥΦΟΣ") == fold("Σίσυφος")
    assert fold("Ａ①") == fold("a1")
    assert fold("é") == fold("E\N{COMBINING ACUTE ACCENT}")
    assert fold("e") != fold("é")


def test_the_order_is_that_of_the_collation() -> None:
    texts = ["apple", "Zebra", "_draft", "[list]", "éclair", "Eclair", "Алексей", "СЕРГЕЙ", "öl", "日本語", "~x", "1"]
    assert sorted(texts, key=lambda text: collated(fold(text))) == sorted(texts, key=casemap)
    # RFC 5255 §4.6, strings (4) and (2)
    assert collated(fold("Алексей")) < collated(fold("сЕРГЕЙ"))


def test_letters_stand_before_what_ascii_has_between_them() -> None:
    """By lower case `_` stood before all letters."""
    assert collated(fold("zebra")) < collated(fold("_draft")) < collated(fold("{x}"))
