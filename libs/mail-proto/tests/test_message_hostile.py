"""Messages that are made to hurt: mutations of real ones keep all promises, bombs take time linear in their size."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mail_proto.message.body_structure import MAX_HEADER_OCTETS
from mail_proto.message.structure import MAX_PARTS, scan, walk
from mail_proto.message.summary import summarize
from mail_proto.message.text import searchable
from mail_testkit import fuzz, messages
from mail_testkit.bombs import BOMBS

SMALL, LARGE = 1_250_000, 10_000_000
# Eight times the octets take eight times as long; what is quadratic takes 64 times.
MOST_TIMES = 24
# Below this the clock says nothing.
LEAST_S = 0.03


def cpu_seconds(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_of_10_mb_is_read_in_linear_time(name: str) -> None:
    small, large = BOMBS[name](SMALL), BOMBS[name](LARGE)
    for read in (summarize, lambda octets: searchable(octets, scan(octets))):
        least = max(cpu_seconds(lambda: read(small)), LEAST_S)  # noqa: B023 - called at once
        assert cpu_seconds(lambda: read(large)) < MOST_TIMES * least  # noqa: B023
    summary = summarize(large)
    assert sum(1 for _ in walk(summary.root)) <= MAX_PARTS
    assert len(summary.header) <= MAX_HEADER_OCTETS + 2
    assert len(summary.envelope) + len(summary.bodystructure) < 3_000_000


@pytest.mark.parametrize("seed", range(8))
def test_mutated_messages_keep_all_promises(seed: int) -> None:
    originals = [path.read_bytes() for path in messages.paths()]
    for number in range(60):
        fuzz.check(fuzz.mutation(originals, seed, number))


@given(st.binary(max_size=400), st.randoms(use_true_random=False))
@settings(max_examples=150)
def test_any_octets_keep_all_promises(octets: bytes, dice: random.Random) -> None:
    fuzz.check(octets)
    fuzz.check(fuzz.mutate(octets, [octets], dice))
