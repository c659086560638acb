"""Compounds and addresses: a needle that lies within them is in a text if and only if it is in one of them."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_proto.fold import fold
from store_api.search import marks
from store_api.search.compounds import as_address, is_compound, joined
from store_api.search.words import HALF, MAX_WORD, Clue, joined_clues, words, words_and_addresses

# Few letters, so that much is alike; what joins, what doesn't, what isn't ASCII.
TEXTS = st.text(alphabet="abc1 @@..--''_é\u0301д\n", max_size=30)
LONG = st.lists(st.sampled_from(["a" * 40, "b" * 63, "ab", ".", "-", "@", "@", " "]), max_size=8).map("".join)


def fits(clue: Clue, word: str) -> bool:
    how = {"part": str.__contains__, "start": str.startswith, "end": str.endswith}
    return how[clue.place](word, clue.text)


def found(wanted: str, text: str) -> bool:
    """As the index finds it: by the one clue, or by those of both halves of an address."""
    own, addresses = words_and_addresses(text)
    match joined_clues(wanted):
        case (clue,):
            return any(fits(clue, word) for word in own - words(text))
        case (before, behind):
            assert own.issuperset(*addresses)
            return any(fits(before, left) and fits(behind, right) for left, right in addresses)
    raise AssertionError(wanted)


@given(TEXTS, st.data())
def test_what_is_in_a_text_is_in_a_compound(text: str, data: st.DataObject) -> None:
    text = fold(text)
    start = data.draw(st.integers(0, len(text)))
    piece = text[start : data.draw(st.integers(start, len(text)))]
    spoilt = data.draw(st.sampled_from([piece, piece[::-1], "@" + piece, piece.replace(".", "-")]))
    if is_compound(spoilt):
        assert any(spoilt in compound for compound in joined(text).compounds) == (spoilt in text)
    if joined_clues(spoilt):
        assert found(spoilt, text) == (spoilt in text)


@given(LONG, st.integers(0, 300), st.integers(1, HALF))
def test_long_ones_are_kept_in_pieces(text: str, start: int, length: int) -> None:
    assert all(len(word) <= MAX_WORD for word in words_and_addresses(text)[0])
    piece = text[start : start + length]
    if joined_clues(piece):
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
    for hostile in (f"{text}@", f"-{text}", f"x@y {text}", f"@{text}"):
        assert (("x", "@y") in joined(hostile).addresses) == hostile.startswith("x")


def test_compounds_of_a_text() -> None:
    text = "from: john.doe99@mail.example.org (don't) -x-y- see http://a.b/c.d. e@f end.\niso-8859-1 @home co.--uk"
    assert joined(text).compounds == {"john.doe", "@mail.example.org", "don't", "x-y", "a.b", "c.d", "@f", "@home"}
    assert joined(text).addresses == {("e", "@f")}
    assert joined("john.doe@mail.example.org a@b@c x.@y").addresses == {
        ("john.doe", "@mail.example.org"),
        ("a", "@b"),
        ("b", "@c"),
    }


def test_which_needles_lie_in_addresses() -> None:
    assert as_address("o'neil-smith@example.org") == ("o'neil-smith", "@example.org")
    for text in (
        "john@",
        "@gmail.com",
        "a@b@c",
        "john9@gmail.com",
        "john.@gmail.com",
        "x john@gmail.com",
        "john@9",
        "",
    ):
        assert as_address(text) is None
    assert joined_clues("j" * (HALF + 1) + "@x") == ()


def test_marks_of_addresses_are_no_others() -> None:
    ids = [1, 2, (1 << 30) - 1, 1 << 30, (1 << 40) + 1]
    addresses = marks.of_addresses(ids, ids)
    fields = [marks.of_field(field, word) for field in marks.FIELDS.values() for word in (0, 1, (1 << 40) + 1)]
    junctions = marks.of_junctions(UUID(int=(1 << 128) - 1), [1, (1 << 36) - 1])
    assert len({*addresses, *fields, *junctions}) == len(addresses) + len(fields) + len(junctions)
    assert all(0 < mark < 1 << 63 for mark in addresses)
