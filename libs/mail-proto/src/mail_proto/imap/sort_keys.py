"""What SORT and THREAD take besides search keys, and how threads are shown (RFC 5256 §5, RFC 5957 §5).

sort-criteria  = "(" sort-criterion *(SP sort-criterion) ")"     sort-criterion = ["REVERSE" SP] sort-key
thread-list    = "(" (thread-members / thread-nested) ")"        thread-nested  = 2*thread-list
thread-members = nz-number *(SP nz-number) [SP thread-nested]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from mail_proto.imap.cursor import Cursor
from mail_proto.imap.errors import SyntaxFault

SortKey = Literal["arrival", "cc", "date", "displayfrom", "displayto", "from", "size", "subject", "to"]
ThreadAlgorithm = Literal["orderedsubject", "references"]
# Ours: each key twice is more than anybody sorts by.
MAX_CRITERIA: Final = 2 * len(get_args(SortKey))

_SORT_KEYS: Final[dict[str, SortKey]] = {key.upper(): key for key in get_args(SortKey)}
_ALGORITHMS: Final[dict[str, ThreadAlgorithm]] = {name.upper(): name for name in get_args(ThreadAlgorithm)}


@dataclass(frozen=True, slots=True)
class SortCriterion:
    by: SortKey
    reverse: bool = False


def sort_criteria(cursor: Cursor) -> tuple[SortCriterion, ...]:
    """Raises SyntaxFault."""
    criteria = cursor.parenthesised(lambda: _criterion(cursor))
    if not 0 < len(criteria) <= MAX_CRITERIA:
        raise SyntaxFault(f"1 to {MAX_CRITERIA} sort criteria")
    return tuple(criteria)


def _criterion(cursor: Cursor) -> SortCriterion:
    word = cursor.keyword()
    reverse = word == "REVERSE"
    if reverse:
        cursor.space()
        word = cursor.keyword()
    if word not in _SORT_KEYS:
        raise SyntaxFault(f"{word[:40]} is no sort criterion")
    return SortCriterion(_SORT_KEYS[word], reverse)


def thread_algorithm(cursor: Cursor) -> ThreadAlgorithm:
    """Raises SyntaxFault."""
    word = cursor.keyword()
    if word not in _ALGORITHMS:
        raise SyntaxFault(f"{word[:40]} is no threading algorithm")
    return _ALGORITHMS[word]


def render_threads(numbers: Sequence[int], depths: Sequence[int]) -> bytes:
    """The thread-lists of a forest, given by a walk from its roots: numbers, and how deep each stands.

    0 stands for a parent without a number. An only child follows its parent, several are lists of their own.
    """
    parents = _parents(depths)
    children = Counter(parents)
    pieces: list[bytes] = []
    open_at: list[int] = []  # depths of the lists that are open
    for at, (number, depth) in enumerate(zip(numbers, depths, strict=True)):
        while open_at and open_at[-1] >= depth:
            open_at.pop()
            pieces.append(b")")
        parent = parents[at]
        if parent < 0 or children[parent] > 1:
            # The first of several is set off from its parent's number.
            is_first = parent == at - 1 and parent >= 0 and numbers[parent] != 0
            pieces.append(b" (" if is_first else b"(")
            open_at.append(depth)
        elif number:
            pieces.append(b" ")
        pieces.append(b"%d" % number if number else b"")
    return b"".join(pieces) + b")" * len(open_at)


def _parents(depths: Sequence[int]) -> list[int]:
    """The place of each one's parent, -1 for roots."""
    above: list[int] = []
    parents = []
    for at, depth in enumerate(depths):
        del above[depth:]
        parents.append(above[-1] if above else -1)
        above.append(at)
    return parents
