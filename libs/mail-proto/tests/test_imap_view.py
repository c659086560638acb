"""The view of a mailbox: what the client is told, and when its numbers change."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from mail_proto.imap import listing
from mail_proto.imap.commands import ListMailboxes
from mail_proto.imap.sequence import parse
from mail_proto.imap.view import Message, View


def message(uid: int, *flags: str) -> Message:
    return Message(uid, list(flags), 0, 10, UUID(int=uid))


def told(octets: bytes) -> list[str]:
    return octets.decode().splitlines()


def test_arrivals_changes_and_expunges() -> None:
    view = View([message(1), message(2, "\\Seen"), message(5)])
    view.flags_response()
    assert view.first_unseen() == 1
    view.absorb([message(2), message(7)], [1])
    assert told(view.announce(expunges=False)) == ["* 4 EXISTS", "* 0 RECENT", "* 2 FETCH (FLAGS ())"]
    assert view.is_gone(1)
    assert told(view.announce(expunges=True)) == ["* 1 EXPUNGE"]
    assert view.uids == [2, 5, 7]
    assert not view.has_news


def test_numbers_of_expunges_are_right_when_they_are_read() -> None:
    view = View([message(uid) for uid in (10, 20, 30, 40)])
    view.absorb([], [10, 30, 40])
    assert told(view.announce(expunges=True)) == ["* 4 EXPUNGE", "* 3 EXPUNGE", "* 1 EXPUNGE"]


def test_what_came_and_went_unnoticed_is_never_mentioned() -> None:
    view = View([message(1)])
    view.absorb([message(2)], [])
    view.absorb([], [2])
    assert view.announce(expunges=True) == b""
    assert view.uids == [1]


def test_new_keywords_are_told_first() -> None:
    view = View([message(1)])
    view.flags_response()
    view.absorb([message(1, "$Work")], [])
    assert told(view.announce(expunges=True, with_uid=True)) == [
        "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Work)",
        "* 1 FETCH (UID 1 FLAGS ($Work))",
    ]


def test_hushed_and_touched() -> None:
    view = View([message(1), message(2)])
    view.absorb([message(1, "\\Seen")], [])
    view.hush([1])
    view.touch([2])
    assert told(view.announce(expunges=True)) == ["* 2 FETCH (FLAGS ())"]


@given(st.lists(st.tuples(st.booleans(), st.integers(min_value=1, max_value=30), st.booleans()), max_size=60))
def test_a_client_that_follows_the_responses_agrees(steps: list[tuple[bool, int, bool]]) -> None:
    """A model client applies EXISTS and EXPUNGE; it always counts what the view counts."""
    view = View([])
    held: list[int] = []
    next_uid = 1
    alive: set[int] = set()
    for arrives, number, expunges in steps:
        if arrives:
            view.absorb([message(next_uid)], [])
            alive.add(next_uid)
            next_uid += 1
        elif number in alive:
            alive.discard(number)
            view.absorb([], [number])
        for line in told(view.announce(expunges=expunges)):
            words = line.split()
            if words[2] == "EXPUNGE":
                del held[int(words[1]) - 1]
            elif words[2] == "EXISTS":
                held += [0] * (int(words[1]) - len(held))
        assert len(held) == len(view)
        assert set(view.uids) >= alive & set(view.uids)
    view.announce(expunges=True)
    assert view.uids == sorted(alive)


def test_selecting_by_number_and_uid() -> None:
    view = View([message(uid) for uid in (10, 20, 30)])
    assert view.select(parse(b"2:*"), by_uid=False) == [20, 30]
    assert view.select(parse(b"15:25"), by_uid=True) == [20]
    assert view.number(30) == 3


MAILBOXES = [
    listing.Listed("INBOX", True, None),
    listing.Listed("Sent", True, "\\Sent"),
    listing.Listed("a", False, None),
    listing.Listed("a/b", True, None),
]


def respond(command: ListMailboxes, mailboxes: list[listing.Listed]) -> bytes:
    return b"".join(response for _, response in listing.Listing(command, mailboxes).responses())


def names(command: ListMailboxes) -> list[str]:
    return [line.rpartition('"/" ')[2].strip('"') for line in told(respond(command, MAILBOXES))]


def test_patterns() -> None:
    assert names(ListMailboxes("", ("*",))) == ["INBOX", "Sent", "a", "a/b"]
    assert names(ListMailboxes("", ("%",))) == ["INBOX", "Sent", "a"]
    assert names(ListMailboxes("a/", ("%",))) == ["a/b"]
    assert names(ListMailboxes("", ("inbox",))) == ["INBOX"]
    assert names(ListMailboxes("", ("S%t", "a"))) == ["Sent", "a"]
    assert names(ListMailboxes("", ("*" * 30 + "x",))) == []


def test_attributes() -> None:
    lines = told(respond(ListMailboxes("", ("*",)), MAILBOXES))
    assert lines[1] == '* LIST (\\HasNoChildren \\Sent) "/" "Sent"'
    assert lines[2] == '* LIST (\\HasChildren) "/" "a"'
    only = ListMailboxes("", ("*",), select=frozenset({"SPECIAL-USE"}))
    assert names(only) == ["Sent"]


def test_names_without_a_mailbox() -> None:
    """RFC 9051 §6.3.5, §7.3.1: inferiors keep a name; a subscription is a name too."""
    known = [listing.Listed("x/y/z", True, None), listing.Listed("gone", True, None, exists=False)]

    def lines(**more: Any) -> list[str]:
        return told(respond(ListMailboxes("", ("*",), **more), known))

    assert lines() == [
        '* LIST (\\HasNoChildren) "/" "x/y/z"',
        '* LIST (\\NonExistent \\Noselect \\HasChildren) "/" "x"',
        '* LIST (\\NonExistent \\Noselect \\HasChildren) "/" "x/y"',
    ]
    assert lines(is_lsub=True) == ['* LSUB () "/" "x/y/z"', '* LSUB (\\Noselect) "/" "gone"']
    assert (
        lines(select=frozenset({"SUBSCRIBED"}))[1]
        == '* LIST (\\NonExistent \\Noselect \\HasNoChildren \\Subscribed) "/" "gone"'
    )


def test_lsub_shows_superiors_of_what_is_subscribed() -> None:
    assert told(respond(ListMailboxes("", ("%",), is_lsub=True), MAILBOXES)) == [
        '* LSUB () "/" "INBOX"',
        '* LSUB () "/" "Sent"',
        '* LSUB (\\Noselect) "/" "a"',
    ]
