"""Sets of uids as values of statements: each range is a scan of the primary key, however many uids it spans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mail_runtime.contracts.store.uids import MAX_UID, UidSet, joined

# A table of disjoint ranges; join it with `uid BETWEEN r.first AND r.last`.
RANGES: Final = "unnest((SELECT CAST(:firsts AS bigint[])), (SELECT CAST(:lasts AS bigint[]))) AS r (first, last)"


def ranges(uids: UidSet | None) -> dict[str, Sequence[int]]:
    """The parameters of `RANGES`; None: all uids. Raises Refused: not a set of uids."""
    pairs = [(1, MAX_UID)] if uids is None else joined(uids)
    return {"firsts": [first for first, _ in pairs], "lasts": [last for _, last in pairs]}
