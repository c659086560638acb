"""Results that are kept up to date (RFC 5267 §4.3), seen by a client that does what it is told."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from mail_proto.imap.mailbox_filters import MailboxFilter
from mail_proto.imap.search_updates import SearchUpdates
from mail_proto.imap.sequence import parse


def same(uids: Sequence[int]) -> Sequence[int]:
    return uids


def follow(results: list[int], responses: bytes, *, is_sorted: bool) -> list[int]:
    """The client: each pair is done before the next (§4.3.2)."""
    results = list(results)
    for what, pairs in re.findall(rb"(ADDTO|REMOVEFROM) \(([^)]*)\)", responses):
        words = pairs.split()
        for place, names in zip(words[::2], words[1::2], strict=True):
            uids = [uid for first, last in parse(names).ranges for uid in range(first, last + 1)]
            at = int(place)
            assert (at > 0) == is_sorted
            if what == b"ADDTO":
                results = sorted([*results, *uids]) if at == 0 else [*results[: at - 1], *uids, *results[at - 1 :]]
            elif at == 0:
                assert set(uids) <= set(results)
                results = [uid for uid in results if uid not in uids]
            else:
                assert results[at - 1 : at - 1 + len(uids)] == uids
                del results[at - 1 : at - 1 + len(uids)]
    return results


UIDS = st.lists(st.integers(min_value=1, max_value=30), unique=True)


@given(UIDS, st.lists(st.tuples(UIDS, UIDS), max_size=5))
def test_a_client_of_search_agrees(first: list[int], steps: list[tuple[list[int], list[int]]]) -> None:
    updates = SearchUpdates(b"* ESEARCH", sorted(first), is_sorted=False)
    held, right = sorted(first), set(first)
    for changed, matching in steps:
        matches = set(changed) & set(matching)
        right = (right - set(changed)) | matches
        held = follow(held, updates.update(changed, sorted(matches), same), is_sorted=False)
        assert held == sorted(right)
        held = follow(held, updates.without(sorted(matching), same), is_sorted=False)
        right -= set(matching)
        assert held == sorted(right)


@given(UIDS, st.lists(UIDS, max_size=5))
def test_a_client_of_sort_agrees(first: list[int], steps: list[list[int]]) -> None:
    updates = SearchUpdates(b"* ESEARCH", first, is_sorted=True)
    held = first
    for results in steps:
        held = follow(held, updates.become(results, same), is_sorted=True)
        assert held == results
        held = follow(held, updates.without(results[:2], same), is_sorted=True)
        assert held == results[2:]


def test_responses() -> None:
    """§4.3.3: the preferred representation."""
    updates = SearchUpdates(b'* ESEARCH (TAG "C01") UID', [2734, 2735], is_sorted=True)
    wanted = b'* ESEARCH (TAG "C01") UID ADDTO (1 2731:2733)\r\n'
    assert updates.become([2731, 2732, 2733, 2734, 2735], same) == wanted
    assert updates.become([2731, 2732, 2733, 2734, 2735], same) == b""
    wanted = b'* ESEARCH (TAG "C01") UID REMOVEFROM (4 2734 1 2731) ADDTO (3 9)\r\n'
    assert updates.become([2732, 2733, 9, 2735], same) == wanted


def test_which_mailboxes_are_meant() -> None:
    known = [
        ("INBOX", True, True),
        ("a", False, True),
        ("a/b", True, True),
        ("a/b/c", False, True),
        ("ab", False, True),
        ("Shared/x/y", True, False),
    ]

    def matching(kind: str, *names: str) -> list[str]:
        wanted = MailboxFilter(kind, names)
        return [name for name, subscribed, own in known if wanted.matches(name, subscribed=subscribed, personal=own)]

    assert matching("INBOXES") == ["INBOX"]
    assert matching("PERSONAL") == ["INBOX", "a", "a/b", "a/b/c", "ab"]
    assert matching("SUBSCRIBED") == ["INBOX", "a/b", "Shared/x/y"]
    assert matching("SUBTREE", "a") == ["a", "a/b", "a/b/c"]
    assert matching("SUBTREE-ONE", "a") == ["a", "a/b"]
    assert matching("MAILBOXES", "ab", "none") == ["ab"]
    assert matching("SELECTED") == []
