"""SEARCH out of the view finds what a look at each message finds."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_proto.fold import fold
from mail_proto.imap import search_keys as k
from mail_proto.imap.mailbox_columns import MailboxColumns, Message, Rows
from mail_proto.imap.search_view import MAX_KEYS, NAMED, Fields, is_known, search
from mail_proto.imap.sequence import SequenceSet
from mail_proto.imap.view import Telling, View

FLAG_SETS = ((), ("\\Seen",), ("\\Flagged", "\\Seen"), ("$Work",), ("$WORK", "\\Deleted"))
DATES = [datetime(1969, 12, 31, 23, 59, 59), datetime(1994, 2, 1), datetime(1994, 2, 1, 23, 59, 59)]

days = st.sampled_from([None, date(1969, 12, 31), date(1970, 1, 1), date(1994, 2, 1), date(1994, 2, 2)])
numbers = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=3).map(tuple)
names = st.sampled_from([b"Subject", b"FROM", b"to", b"cc", b"Bcc"])
leaves = st.one_of(
    st.just(k.Everything()),
    st.builds(k.Numbers, st.builds(SequenceSet, numbers), are_uids=st.just(True)),
    st.just(k.Numbers(SequenceSet((), is_saved=True), are_uids=False)),
    st.builds(k.HasFlag, st.sampled_from(["\\seen", "\\deleted", "\\answered", "$work", "$none"])),
    st.builds(k.Size, st.integers(0, 3), st.booleans()),
    st.builds(k.Received, days, days),
    st.builds(k.Sent, days, days),
    st.builds(
        k.InHeader, st.sampled_from([b"Subject", b"FROM", b"to", b"cc", b"Bcc"]), st.sampled_from(["", "A", "ab"])
    ),
    st.sampled_from([k.InHeader(b"subject", "b\na"), k.InHeader(b"subject", "\0"), k.InHeader(b"to", "STRASSE")]),
)
values = st.sampled_from([None, "", "a", "ba", "ab", "b\nab", "stra\u00dfe"]).map(lambda text: text and fold(text))
all_fields = st.lists(st.builds(Fields, st.tuples(*[values] * len(NAMED)), days), min_size=9, max_size=9)
programs = st.recursive(
    leaves,
    lambda keys: st.one_of(
        st.builds(k.Not, keys),
        st.builds(k.AnyOf, st.lists(keys, max_size=3).map(tuple)),
        st.builds(k.AllOf, st.lists(keys, max_size=3).map(tuple)),
    ),
    max_leaves=8,
)
messages = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(DATES), st.integers(0, len(FLAG_SETS) - 1)), max_size=9
)


def opened(rows: list[tuple[int, datetime, int]]) -> View:
    uids = list(range(1, len(rows) + 1))
    zeros = [0] * len(uids)
    octets = [octets for octets, _, _ in rows]
    dates = [int(when.replace(tzinfo=UTC).timestamp()) for _, when, _ in rows]
    flags = [number for _, _, number in rows]
    return View(MailboxColumns(Rows(uids, zeros, dates, octets, zeros, uids, flags, FLAG_SETS), 1))


def matches(key: k.SearchKey, message: Message, view: View, fields: Fields) -> bool:
    """One message, by the letter of RFC 9051 §6.4.4."""
    match key:
        case k.Sent(first, end):
            day = fields.sent_day
            return day is not None and (first is None or first <= day) and (end is None or day < end)
        case k.InHeader(name, text):
            value = fields.texts[NAMED.index(name.decode().lower())]
            return value is not None and any(fold(text) in line for line in value.split("\n"))
        case k.Numbers(wanted, are_uids):
            return message.uid in view.select(wanted, by_uid=are_uids)
        case k.HasFlag(flag):
            return message.has(flag)
        case k.Size(limit, larger):
            return message.octets > limit if larger else message.octets < limit
        case k.Received(first, end):
            day = datetime.fromtimestamp(message.internal_date, UTC).date()
            return (first is None or first <= day) and (end is None or day < end)
        case k.Not(inner):
            return not matches(inner, message, view, fields)
        case k.AnyOf(keys):
            return any(matches(inner, message, view, fields) for inner in keys)
        case k.AllOf(keys):
            return all(matches(inner, message, view, fields) for inner in keys)
    assert key == k.Everything()
    return True


@given(messages, programs, st.sets(st.integers(1, 9), max_size=3), all_fields)
def test_each_message_is_judged_by_itself(
    rows: list[tuple[int, datetime, int]], key: k.SearchKey, gone: set[int], listed: list[Fields]
) -> None:
    view = opened(rows)
    view.saved = [2, 3]
    here = [uid for uid in view.known_uids() if uid not in gone]
    # Yet to be told, as the removals.
    view.columns.absorb(Rows([20], [2], [0], [1], [0], [20], [0], FLAG_SETS), gone, 2)
    fields = {uid: listed[uid - 1] for uid in here}
    wanted = [uid for uid in here if matches(key, view.message(uid), view, fields[uid])]
    assert search(key, view, fields) == wanted


def test_numbers_are_those_that_the_client_knows() -> None:
    view = opened([(1, DATES[0], 0)] * 3)
    view.columns.absorb(Rows([4], [2], [0], [1], [0], [4], [0], FLAG_SETS), [1], 2)
    second = k.Numbers(SequenceSet(((2, 2),)), are_uids=False)
    assert search(second, view) == [2]
    assert search(k.Everything(), view) == [2, 3]
    view.announce(Telling())
    assert search(second, view) == [3]
    assert search(k.Everything(), view) == [2, 3, 4]
    unknown = k.Numbers(SequenceSet(((4, 4),)), are_uids=False)
    assert search(unknown, view) == []
    assert search(k.Not(unknown), view) == [2, 3, 4]


@pytest.mark.parametrize(
    "key",
    [
        k.InText("x", header_too=False),
        k.InHeader(b"subject", "x"),
        k.Sent(None, date(1994, 2, 1)),
        k.Saved(None, date(1994, 2, 1)),
        k.Age(1, older=True),
        k.Changed(1),
    ],
)
def test_what_the_view_does_not_know_is_left_to_the_store(key: k.SearchKey) -> None:
    seen = k.HasFlag("\\seen")
    assert is_known(k.AllOf((seen, k.Not(seen))))
    assert not is_known(key)
    assert not is_known(k.AnyOf((seen, k.Not(k.AllOf((key, seen))))))


def test_what_header_fields_tell() -> None:
    seen, subject, sent = k.HasFlag("\\seen"), k.InHeader(b"SUBJECT", "x"), k.Sent(None, date(1994, 2, 1))
    assert is_known(k.AllOf((seen, k.Not(subject), k.AnyOf((sent, seen)))), with_fields=True)
    for other in (k.InHeader(b"list-id", "x"), k.InText("x", header_too=True), k.Changed(1)):
        assert not is_known(k.AllOf((subject, other)), with_fields=True)
    assert not is_known(k.AllOf((subject,) * (MAX_KEYS + 1)), with_fields=True)


def test_many_keys_are_left_to_the_store() -> None:
    seen = k.HasFlag("\\seen")
    assert is_known(k.AllOf((seen,) * MAX_KEYS))
    assert not is_known(k.AllOf((seen,) * (MAX_KEYS + 1)))
