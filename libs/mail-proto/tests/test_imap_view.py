"""The view of a mailbox: what the client is told, and when its numbers change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mail_proto.imap import listing
from mail_proto.imap.commands import ListMailboxes
from mail_proto.imap.mailbox_columns import MailboxColumns, Rows
from mail_proto.imap.sequence import parse
from mail_proto.imap.view import Telling, View

Flags = tuple[str, ...]
REV1 = Telling()
BY_NUMBER = Telling(expunges=False)


def rows(*messages: tuple[int, Flags], modseq: int = 1) -> Rows:
    uids = [uid for uid, _ in messages]
    zeros = [0] * len(uids)
    return Rows(
        uids, [modseq] * len(uids), zeros, [10] * len(uids), zeros, uids, range(len(uids)), [f for _, f in messages]
    )


class Mailbox:
    """A mailbox and one view of it; each change takes a modseq."""

    def __init__(self, *messages: tuple[int, Flags]) -> None:
        self.columns = MailboxColumns(rows(*messages), 1)
        self.view = View(self.columns)
        self.view.flags_response()

    def change(self, *messages: tuple[int, Flags], gone: Iterable[int] = ()) -> None:
        modseq = self.columns.modseq + 1
        self.columns.absorb(rows(*messages, modseq=modseq), gone, modseq)


def told(octets: bytes) -> list[str]:
    return octets.decode().splitlines()


def test_arrivals_changes_and_expunges() -> None:
    box = Mailbox((1, ()), (2, ("\\Seen",)), (5, ()))
    assert box.view.first_unseen() == 1
    box.change((2, ()), (7, ()), gone=[1])
    assert told(box.view.announce(BY_NUMBER)) == ["* 4 EXISTS", "* 0 RECENT", "* 2 FETCH (FLAGS ())"]
    assert box.view.is_gone(1)
    assert box.view.message(1).blob == 1
    assert told(box.view.announce(REV1)) == ["* 1 EXPUNGE"]
    assert list(box.view.known_uids()) == [2, 5, 7]
    assert not box.view.has_news


def test_numbers_of_expunges_are_right_when_they_are_read() -> None:
    box = Mailbox(*((uid, ()) for uid in (10, 20, 30, 40)))
    box.change(gone=[10, 30, 40])
    assert told(box.view.announce(REV1)) == ["* 4 EXPUNGE", "* 3 EXPUNGE", "* 1 EXPUNGE"]


def test_what_came_and_went_unnoticed_is_never_mentioned() -> None:
    box = Mailbox((1, ()))
    box.change((2, ()))
    box.change(gone=[2])
    assert box.view.announce(REV1) == b""
    assert list(box.view.known_uids()) == [1]


def test_new_keywords_are_told_first() -> None:
    box = Mailbox((1, ()))
    box.change((1, ("$Work",)))
    assert told(box.view.announce(Telling(with_uid=True))) == [
        "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Work)",
        "* 1 FETCH (UID 1 FLAGS ($Work))",
    ]


def test_hushed_and_touched() -> None:
    box = Mailbox((1, ()), (2, ()), (3, ()))
    box.change((1, ("\\Seen",)))
    box.view.hush([1])
    box.view.touch([2])
    box.view.touch([3], quietly=True)
    assert told(box.view.announce(REV1)) == ["* 2 FETCH (FLAGS ())"]


def test_what_isnt_wanted_waits() -> None:
    """RFC 5465 §3.1: a client that wants no events sees the mailbox as it was, but for what it does itself."""
    box = Mailbox((1, ()), (2, ()), (3, ()))
    box.change((1, ("\\Seen",)), (2, ("\\Seen",)), (4, ()), gone=[3])
    nothing = Telling(expunges=False, arrivals=False, changes=False)
    assert box.view.announce(nothing) == b""
    box.view.touch([2])
    assert told(box.view.announce(nothing)) == ["* 2 FETCH (FLAGS (\\Seen))"]
    assert box.view.announce(nothing) == b""
    assert box.view.told_modseq == 1
    assert told(box.view.announce(REV1)) == [
        "* 3 EXPUNGE",
        "* 3 EXISTS",
        "* 0 RECENT",
        "* 1 FETCH (FLAGS (\\Seen))",
    ]
    assert box.view.told_modseq == 2


def test_modseqs_and_vanished() -> None:
    """RFC 7162 §3.2.4, §3.2.10; §6: what vanished and isn't told yet holds the highest modseq back."""
    box = Mailbox((1, ()), (2, ()), (3, ()))
    box.change(gone=[2])
    box.change((3, ("\\Seen",)))
    aware = {"with_modseq": True, "vanished": True, "recent": False}
    assert told(box.view.announce(Telling(expunges=False, **aware))) == [
        "* 3 FETCH (UID 3 MODSEQ (3) FLAGS (\\Seen))",
        "* OK [HIGHESTMODSEQ 1] more to come",
    ]
    box.view.touch([1], quietly=True)
    assert told(box.view.announce(Telling(**aware))) == ["* VANISHED 2", "* 1 FETCH (UID 1 MODSEQ (1))"]
    assert box.view.told_modseq == 3


def test_views_of_one_mailbox_are_told_each_in_its_time() -> None:
    box = Mailbox((1, ()), (2, ()))
    other = View(box.columns)
    other.flags_response()
    box.change((3, ()), gone=[1])
    assert told(box.view.announce(REV1)) == ["* 1 EXPUNGE", "* 2 EXISTS", "* 0 RECENT"]
    assert told(other.announce(BY_NUMBER)) == ["* 3 EXISTS", "* 0 RECENT"]
    assert other.number(3) == 3
    assert box.view.number(3) == 2
    box.change(gone=[3])
    box.change((4, ()))
    other.close()
    box.change(gone=[2])
    assert told(other.announce(REV1)) == ["* 3 EXPUNGE", "* 1 EXPUNGE", "* 1 EXISTS", "* 0 RECENT"]
    assert told(box.view.announce(REV1)) == ["* 2 EXPUNGE", "* 1 EXPUNGE", "* 1 EXISTS", "* 0 RECENT"]


def test_a_large_mailbox_takes_little() -> None:
    """The goal of the view of 100,000 messages: less than 10 MB, shared by all sessions."""
    uids = list(range(1, 100_001))
    flags = [("\\Seen",), ("\\Seen", "\\Answered")]
    zeros = [0] * len(uids)
    columns = MailboxColumns(Rows(uids, zeros, zeros, zeros, zeros, zeros, [uid % 2 for uid in uids], flags), 1)
    views = [View(columns) for _ in range(100)]
    assert columns.memory_octets < 5_000_000
    columns.absorb(rows(), range(1, 100_001, 2), 2)
    assert [len(view.announce(REV1).splitlines()) for view in views[:2]] == [50_000, 50_000]
    assert views[0].number(2) == 1
    assert views[99].number(2) == 2


def test_sets_of_flags_that_nobody_has_are_cleared_out() -> None:
    box = Mailbox((1, ()), (2, ("$First",)))
    for number in range(3_000):
        box.change((1, (f"$k{number}",)))
    assert len(box.columns.flag_sets) < 1_100
    assert box.columns.flags_of(1) == ("$k2999",)
    assert box.columns.flags_of(2) == ("$First",)
    assert "$first" in box.columns.keywords


@given(st.lists(st.tuples(st.booleans(), st.integers(min_value=1, max_value=30), st.booleans()), max_size=60))
def test_a_client_that_follows_the_responses_agrees(steps: list[tuple[bool, int, bool]]) -> None:
    """A model client applies EXISTS and EXPUNGE; what it takes a number for is what the view takes it for."""
    box = Mailbox()
    uids: list[int] = []  # all that ever came, in order
    held: list[int] = []
    alive: set[int] = set()
    for arrives, number, expunges in steps:
        if arrives:
            uids.append(len(uids) + 1)
            alive.add(uids[-1])
            box.change((uids[-1], ()))
        elif number in alive:
            alive.discard(number)
            box.change(gone=[number])
        is_settled = box.view.is_settled()
        lines = told(box.view.announce(Telling(expunges=expunges)))
        assert not (is_settled and lines)
        for line in lines:
            words = line.split()
            if words[2] == "EXPUNGE":
                del held[int(words[1]) - 1]
            elif words[2] == "EXISTS":
                held += box.view.known_uids()[len(held) : int(words[1])]
        assert held == list(box.view.known_uids())
        assert alive <= set(held)
    box.view.announce(REV1)
    assert box.view.is_settled()
    assert list(box.view.known_uids()) == sorted(alive)


def test_selecting_by_number_and_uid() -> None:
    view = Mailbox(*((uid, ()) for uid in (10, 20, 30))).view
    for wanted, by_uid, uids in [
        (b"2:*", False, [20, 30]),
        (b"3,1", False, [10, 30]),
        (b"9:*", False, [30]),
        (b"15:25", True, [20]),
        (b"99:*", True, [30]),
        (b"10,30:31", True, [10, 30]),
    ]:
        assert list(view.select(parse(wanted), by_uid=by_uid)) == uids
    assert view.number(30) == 3
    empty = Mailbox().view
    assert [list(empty.select(parse(b"1:*"), by_uid=by_uid)) for by_uid in (False, True)] == [[], []]


def test_what_is_quiet_is_yet_to_be_told() -> None:
    """RFC 7162 §3.1.3: the modseq of what the client has changed in silence."""
    box = Mailbox((1, ()), (2, ()))
    assert box.view.is_settled()
    box.change((2, ("\\Seen",)))
    box.view.hush([2])
    assert box.view.is_settled()
    assert box.view.told_modseq == 2
    box.view.touch([2], quietly=True)
    assert not box.view.is_settled()
    box.view.announce(REV1)
    box.change((2, ("$New",)))
    box.view.hush([2])
    assert not box.view.is_settled(), "there is a new keyword"


def test_each_change_makes_another_version() -> None:
    box = Mailbox((1, ()), (2, ()))
    versions = [box.columns.version]
    for change, gone in ([(3, ())], []), ([(1, ("\\Seen",))], []), ([], [2]):
        box.change(*change, gone=gone)
        versions.append(box.columns.version)
    assert len(set(versions)) == len(versions)
    box.change()
    assert box.columns.version == versions[-1]
    assert Mailbox().columns.version not in versions


def test_columns_of_many_messages() -> None:
    view = Mailbox((10, ("\\Seen",)), (20, ()), (30, ()), (40, ("$X",))).view
    names = ["UID", "FLAGS", "RFC822.SIZE", "MODSEQ", "INTERNALDATE"]
    assert told(view.fetched(view.places([20, 40]), names)) == [
        '* 2 FETCH (UID 20 FLAGS () RFC822.SIZE 10 MODSEQ (1) INTERNALDATE " 1-Jan-1970 00:00:00 +0000")',
        '* 4 FETCH (UID 40 FLAGS ($X) RFC822.SIZE 10 MODSEQ (1) INTERNALDATE " 1-Jan-1970 00:00:00 +0000")',
    ]
    assert told(view.fetched(view.places([10, 20, 30]), ["FLAGS"]))[2] == "* 3 FETCH (FLAGS ())"
    assert told(view.fetched(view.places([40]), ["UID"])) == ["* 4 FETCH (UID 40)"]


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
    subscribed = lines(select=frozenset({"SUBSCRIBED"}))
    assert subscribed[1] == '* LIST (\\NonExistent \\HasNoChildren \\Subscribed) "/" "gone"'


def test_lsub_shows_superiors_of_what_is_subscribed() -> None:
    assert told(respond(ListMailboxes("", ("%",), is_lsub=True), MAILBOXES)) == [
        '* LSUB () "/" "INBOX"',
        '* LSUB () "/" "Sent"',
        '* LSUB (\\Noselect) "/" "a"',
    ]


def test_recent_messages() -> None:
    box = Mailbox(*((uid, ()) for uid in range(1, 6)))
    view = box.view
    view.add_recent(2, 4)
    view.add_recent(4, 4)
    assert view.recent == [(3, 4)]
    view.add_recent(0, 5)
    assert view.recent == [(3, 5)]
    view.add_recent(7, 9)
    assert view.recent == [(3, 5), (8, 9)]
    assert [uid for uid in range(1, 12) if view.is_recent(uid)] == [3, 4, 5, 8, 9]
    assert view.count_recent() == 3
    lines = view.fetched(view.places([2, 3, 4]), ("UID", "FLAGS")).split(b"\r\n")
    assert lines[:2] == [b"* 2 FETCH (UID 2 FLAGS ())", b"* 3 FETCH (UID 3 FLAGS (\\Recent))"]
