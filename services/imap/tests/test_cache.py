"""Bounded caches: what was used last stays, the sum of octets holds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from imap.cache import BoundedCache
from imap.commands.fetch import BATCH_MESSAGES, BATCH_OCTETS, _batches
from mail_proto.imap.mailbox_columns import Message


@given(st.lists(st.tuples(st.integers(min_value=0, max_value=20), st.integers(min_value=0, max_value=80)), max_size=60))
def test_the_bound_holds(puts: list[tuple[int, int]]) -> None:
    cache: BoundedCache[int, int] = BoundedCache(100)
    sizes: dict[int, int] = {}
    for key, octets in puts:
        if cache.get(key) is None:
            sizes[key] = octets
        cache.put(key, key, octets)
        kept = [known for known in sizes if cache.get(known) is not None]
        assert sum(sizes[known] for known in kept) <= 100


def test_what_was_used_last_stays() -> None:
    cache: BoundedCache[int, str] = BoundedCache(100)
    first, second, third = 1, 2, 3
    cache.put(first, "1", 40)
    cache.put(second, "2", 40)
    assert cache.get(first) == "1"
    cache.put(third, "3", 40)
    assert cache.get(second) is None
    assert cache.get(first) == "1"


def test_one_value_never_takes_it_all() -> None:
    cache: BoundedCache[int, str] = BoundedCache(100)
    cache.put(1, "large", 51)
    assert cache.get(1) is None


@given(st.lists(st.integers(min_value=1, max_value=BATCH_OCTETS * 2), max_size=40))
def test_batches_are_bounded_and_complete(sizes: list[int]) -> None:
    messages = [Message(uid, [], 0, size, uid) for uid, size in enumerate(sizes, 1)]
    batches = list(_batches(messages, with_bodies=True))
    assert [message for batch in batches for message in batch] == messages
    for batch in batches:
        assert len(batch) == 1 or sum(message.octets for message in batch) <= BATCH_OCTETS
    assert all(len(batch) <= BATCH_MESSAGES for batch in _batches(messages, with_bodies=False))
