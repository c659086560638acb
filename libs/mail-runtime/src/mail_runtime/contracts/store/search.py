"""Searching, sorting and threading (RFC 9051 §6.4.4, RFC 5256): what a frontend asks, and what it gets.

A program is a tree of keys. Sequence numbers are the session's business: it sends uids. Texts are sent as the client
wrote them; the store folds them.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Final, Literal, Union
from uuid import UUID

import msgspec

# Ours: deeper and larger than what any client builds.
MAX_DEPTH: Final = 50
MAX_KEYS: Final = 2_000


class Everything(msgspec.Struct, frozen=True, tag="all"):
    """Every message; `Not(Everything())` is none."""


class Uids(msgspec.Struct, frozen=True, tag="uids"):
    """Both ends of each range are included."""

    ranges: list[tuple[int, int]]


class HasFlag(msgspec.Struct, frozen=True, tag="flag"):
    """A system flag or keyword, in any case."""

    flag: str


class Size(msgspec.Struct, frozen=True, tag="size"):
    """More octets than `larger`, fewer than `smaller`."""

    larger: int | None = None
    smaller: int | None = None


class Day(msgspec.Struct, frozen=True, tag="day"):
    """`first` <= day < `end`: of arrival in UTC, of the Date field as written there, or of the copy (RFC 8514)."""

    of: Literal["internal", "sent", "saved"]
    first: date | None = None
    end: date | None = None


class Arrived(msgspec.Struct, frozen=True, tag="arrived"):
    """`first` <= arrival < `end`, in seconds since the epoch."""

    first: int | None = None
    end: int | None = None


class Age(msgspec.Struct, frozen=True, tag="age"):
    """YOUNGER: arrived within the last `seconds`; OLDER: not after that (RFC 5032)."""

    seconds: int
    older: bool


class Changed(msgspec.Struct, frozen=True, tag="modseq"):
    """A modseq of `since` or more (RFC 7162 §3.1.5)."""

    since: int


class InHeader(msgspec.Struct, frozen=True, tag="header"):
    """A field of that name contains the text; an empty text: there is such a field."""

    name: str
    text: str


class InText(msgspec.Struct, frozen=True, tag="text"):
    """BODY: the decoded text contains it; TEXT, with `header_too`: or a header field does."""

    text: str
    header_too: bool


class HasId(msgspec.Struct, frozen=True, tag="id"):
    """EMAILID, THREADID (RFC 8474)."""

    of: Literal["email", "thread"]
    id: UUID


class InMailboxes(msgspec.Struct, frozen=True, tag="mailboxes"):
    """In one of these: for searches over a whole account."""

    ids: list[UUID]


class Not(msgspec.Struct, frozen=True, tag="not"):
    key: SearchKey


class AnyOf(msgspec.Struct, frozen=True, tag="or"):
    keys: list[SearchKey]


class AllOf(msgspec.Struct, frozen=True, tag="and"):
    keys: list[SearchKey]


SearchKey = Union[  # noqa: UP007 — the classes above refer to it before it is made
    Everything,
    Uids,
    HasFlag,
    Size,
    Day,
    Arrived,
    Age,
    Changed,
    InHeader,
    InText,
    HasId,
    InMailboxes,
    Not,
    AnyOf,
    AllOf,
]


class SortBy(msgspec.Struct, frozen=True):
    """One criterion of SORT (RFC 5256 §3; RFC 5957 for the displayed names)."""

    by: Literal["arrival", "cc", "date", "displayfrom", "displayto", "from", "size", "subject", "to"]
    reverse: bool = False


ThreadAlgorithm = Literal["orderedsubject", "references"]


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """`sort`: in that order, then by uid; without it by uid. `thread`: as a forest instead of a list."""

    key: SearchKey
    sort: list[SortBy] = []
    thread: ThreadAlgorithm | None = None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """`uids`: packed, see `unpack_numbers`. `modseq`: the highest among the messages found, 0 without any.

    `depths`, only for threads: how deep in its tree each of the uids stands, in the order of a walk from the roots,
    parents before children; uid 0 stands for a parent that isn't among the messages found.
    """

    uids: bytes
    modseq: int = 0
    depths: bytes = b""


class HeaderFields(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What is searched most of a message's header, folded: all fields of a name, a line each, None without any.

    `sent_day`: as the Date field says it, in its own zone.
    """

    blob_id: UUID
    subject: str | None = None
    from_: str | None = None
    to: str | None = None
    cc: str | None = None
    bcc: str | None = None
    sent_day: date | None = None


def pack_numbers(numbers: Sequence[int]) -> bytes:
    """Numbers below 2^32, four octets each, the lowest first."""
    packed = array("I", numbers)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def unpack_numbers(packed: bytes) -> list[int]:
    """What `pack_numbers` packed. Raises ValueError: it isn't whole."""
    numbers = array("I", packed)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def walk(key: SearchKey, depth: int = 0) -> Iterator[tuple[SearchKey, int]]:
    """The key and all keys in it, each with its depth."""
    pending = [(key, depth)]
    while pending:
        one, at = pending.pop()
        yield one, at
        match one:
            case Not(inner):
                pending.append((inner, at + 1))
            case AnyOf(keys) | AllOf(keys):
                pending.extend((inner, at + 1) for inner in keys)


def is_bounded(key: SearchKey) -> bool:
    """Whether it keeps MAX_KEYS and MAX_DEPTH."""
    return all(number < MAX_KEYS and depth <= MAX_DEPTH for number, (_, depth) in enumerate(walk(key)))
