"""Compounds: a needle that lies within compounds is in a text if and only if it is in one of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_proto.fold import fold
from store_api.search.compounds import compounds, is_compound
from store_api.search.words import HALF, MAX_WORD, needle, words, words_and_compounds

# Few letters, so that much is alike; what joins, what doesn't, what isn't ASCII.
TEXTS = st.text(alphabet="abc1 @@..--''_é\u0301д\n", max_size=30)
LONG = st.lists(st.sampled_from(["a" * 40, "b" * 63, "ab", ".", "-", "@", " "]), max_size=8).map("".join)


def found(wanted: str, text: str) -> bool:
    """As the index finds it: by the one clue."""
    [clue] = needle(wanted, among_compounds=True).clues
    matches = str.startswith if clue.place == "start" else str.__contains__
    return any(matches(word, clue.text) for word in words_and_compounds(text) - words(text))


@given(TEXTS, st.data())
def test_what_is_in_a_text_is_in_a_compound(text: str, data: st.DataObject) -> None:
    text = fold(text)
    start = data.draw(st.integers(0, len(text)))
    piece = text[start : data.draw(st.integers(start, len(text)))]
    spoilt = data.draw(st.sampled_from([piece, piece[::-1], "@" + piece, piece.replace(".", "-")]))
    if is_compound(spoilt):
        assert any(spoilt in compound for compound in compounds(text)) == (spoilt in text)
        assert found(spoilt, text) == (spoilt in text)


@given(LONG, st.integers(0, 300), st.integers(1, HALF))
def test_long_ones_are_kept_in_pieces(text: str, start: int, length: int) -> None:
    assert all(len(word) <= MAX_WORD for word in words_and_compounds(text))
    piece = text[start : start + length]
    if is_compound(piece):
        assert found(piece, text)


def test_which_needles_lie_in_compounds() -> None:
    inside = ["gmail.com", "@gmail.com", "@gmail", "e-mail", "don't", "www.example.org", "o'neil-smith.example"]
    outside = [
        "gmail",
        "gmail.",
        ".com",
        "a..b",
        "john@gmail.com",
        "e-mail ",
        "iso-8859",
        "caf\u00e9.fr",
        "@",
        "x@",
        "",
    ]
    assert [text for text in inside + outside if is_compound(text)] == inside


@pytest.mark.parametrize("piece", ["a", "a.", "a@", "a-b@", "@", "@a", ".", "a.-"])
def test_hostile_texts_take_no_longer(piece: str) -> None:
    """Each would take minutes if letters were looked at again and again."""
    text = piece * 300_000
    assert compounds(f"{text}@") | compounds(f"-{text}") | compounds(f"x@y {text}") >= {"@y"}


def test_compounds_of_a_text() -> None:
    text = "from: john.doe99@mail.example.org (don't) -x-y- see http://a.b/c.d. e@f end.\niso-8859-1 @home co.--uk"
    assert compounds(text) == {
        *("john.doe", "@mail.example.org", "don't", "x-y", "a.b", "c.d", "@f", "@home"),
    }
