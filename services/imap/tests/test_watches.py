"""What a session is told of changes that it has made itself: nothing, whichever comes first, the answer or the news."""

from __future__ import annotations

import pytest

from imap.watches import MAX_UNHEARD, Watch


@pytest.fixture
def watch() -> Watch:
    return Watch()


def test_own_changes_are_no_news(watch: Watch) -> None:
    with watch.making() as made:
        made.add(5)
    watch.notified(5)
    assert not watch.changed.is_set()
    watch.notified(5)
    assert watch.changed.is_set(), "told again, it is something else: rights, for example"


def test_own_changes_are_no_news_when_they_are_told_before_the_answer(watch: Watch) -> None:
    with watch.making() as made:
        watch.notified(5)
        assert not watch.changed.is_set()
        made.add(5)
    assert not watch.changed.is_set()


def test_others_changes_are_news(watch: Watch) -> None:
    with watch.making() as made:
        watch.notified(5)
        made.add(6)
    assert watch.changed.is_set()
    watch.changed.clear()
    watch.notified(6)
    watch.notified(7)
    assert watch.changed.is_set()


def test_what_fails_hides_nothing(watch: Watch) -> None:
    def fails() -> None:
        with watch.making():
            watch.notified(5)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert watch.changed.is_set()


def test_what_is_never_heard_of_is_forgotten(watch: Watch) -> None:
    for modseq in range(MAX_UNHEARD + 2):
        with watch.making() as made:
            made.add(modseq)
    watch.notified(0)
    assert watch.changed.is_set()
