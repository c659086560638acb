"""Junctions: no text that has a needle lacks its numbers, and where they decide, no other text has them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from store_api.search.junctions import JUNCTION_BITS, MAX_NUMBERS, junctions, places_of

# Few letters, so that much is alike; some that share numbers, a mark, what stands between words.
TEXTS = st.text(alphabet="abz1 дñ\u0301-.\n", max_size=30).map(lambda text: text.replace("  ", " a"))
WORDS = st.text(alphabet="abz1д", min_size=1, max_size=4)


@given(TEXTS, st.integers(0, 30), st.integers(1, 15))
def test_what_is_in_a_text_is_in_its_numbers(text: str, start: int, length: int) -> None:
    needle = text[start : start + length]
    found = junctions(text)
    for numbers in places_of(needle).numbers:
        assert found.intersection(numbers), (text, needle)


@given(TEXTS, WORDS, WORDS)
def test_what_decides_finds_nothing_else(text: str, left: str, right: str) -> None:
    needle = f"{left} {right}"
    places = places_of(needle)
    if places.decide:
        [numbers] = places.numbers
        assert bool(junctions(text).intersection(numbers)) == (needle in text)


def test_which_needles_are_decided() -> None:
    decided = ["of the", "in the", "to be", "the end", "x11 api", "a the"]
    undecided = ["mailing list", "thing in the", "of the ", " of the", "of-the", "of", "день за", "in a", "é un", ""]
    assert [needle for needle in decided + undecided if places_of(needle).decide] == decided


def test_numbers_are_few_and_small() -> None:
    for needle in ("of the", "to be", "a the", "mailing list", "one of the"):
        places = places_of(needle).numbers
        assert places
        assert all(len(set(numbers)) == len(numbers) <= MAX_NUMBERS for numbers in places)
        assert all(0 < number < 1 << JUNCTION_BITS for numbers in places for number in numbers)
    assert places_of("e f").numbers == []
