"""A mailbox, or what changed in it, as columns of machine words: 100,000 messages in two milliseconds on each side."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import msgspec

from mail_runtime.contracts.store.mailboxes import Changes, Mailbox
from mail_runtime.contracts.store.uids import UidSet, joined

# Words of 64 bits of a message: uid, modseq, internal date, octets, the two halves of the blob's id.
WORDS: Final = 6
# … and of its objects: saved date, and the halves of EMAILID and THREADID (RFC 8474).
OBJECT_WORDS: Final = 5


class Columns(msgspec.Struct, frozen=True, kw_only=True):
    """Messages ascending by uid, and what was removed.

    `words`: `WORDS` of each message in network order. `flags`: of each its place in `flag_sets`, 32 bits in network
    order. `objects`: `OBJECT_WORDS` of each, if asked for. `is_whole` as in `Changes`.
    """

    mailbox: Mailbox
    is_whole: bool
    words: bytes
    flag_sets: list[list[str]]
    flags: bytes
    expunged: UidSet
    objects: bytes = b""

    def __len__(self) -> int:
        return len(self.words) // (8 * WORDS)


class FlagsStored(msgspec.Struct, frozen=True, kw_only=True):
    """`modified` are uids refused because of `unchanged_since`.

    `changes`: what changed after `StoreFlags.seen`, by others too; None: it wasn't asked for, or has to be asked for
    by itself.
    """

    modseq: int
    modified: list[int] = []
    changes: Columns | None = None


class Expunged(msgspec.Struct, frozen=True, kw_only=True):
    """`changes` as in `FlagsStored`."""

    modseq: int
    uids: list[int]
    changes: Columns | None = None


def _native(kind: str, octets: bytes) -> memoryview:
    """Words in network order as numbers of this machine."""
    words = array(kind)
    words.frombytes(octets)
    if sys.byteorder == "little":
        words.byteswap()
    return memoryview(words)


def word_column(columns: Columns, place: int, *, is_signed: bool = False) -> array[int]:
    """One of the words of each message, from 0: no other is in memory a second time."""
    words = array("q" if is_signed else "Q")
    words.frombytes(memoryview(columns.words).cast("Q")[place::WORDS].tobytes())
    if sys.byteorder == "little":
        words.byteswap()
    return words


def flag_column(columns: Columns) -> array[int]:
    """Of each message its place in `flag_sets`."""
    return array("I", _native("I", columns.flags).tobytes())


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of a `Columns` as sequences of numbers, which take no memory of their own.

    Dates are seconds since the epoch, UTC.
    """

    uids: memoryview
    modseqs: memoryview
    internal_dates: memoryview
    octets: memoryview
    flag_sets: Sequence[Sequence[str]]
    flags: memoryview
    _blobs: tuple[memoryview, memoryview]

    @classmethod
    def of(cls, columns: Columns) -> Table:
        signed = _native("q", columns.words)
        unsigned = signed.cast("B").cast("Q")
        uids, modseqs, dates, octets = (signed[place::WORDS] for place in range(4))
        blobs = unsigned[4::WORDS], unsigned[5::WORDS]
        return cls(uids, modseqs, dates, octets, columns.flag_sets, _native("I", columns.flags), blobs)

    def __len__(self) -> int:
        return len(self.uids)

    @property
    def blob_halves(self) -> tuple[memoryview, memoryview]:
        """The high and the low 64 bits of the blobs' ids."""
        return self._blobs

    def blob_id(self, place: int) -> UUID:
        """The blob of the message at this place."""
        high, low = self._blobs
        return UUID(int=high[place] << 64 | low[place])

    def blob_ids(self) -> Iterator[UUID]:
        """Of all messages, in order."""
        high, low = self._blobs
        return (UUID(int=first << 64 | last) for first, last in zip(high.tolist(), low.tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class Objects:
    """When a message was saved (RFC 8514), and its ids; None: it has no thread id yet."""

    saved_date: int
    email_id: UUID
    thread_id: UUID | None


def objects_of(columns: Columns) -> list[Objects]:
    """Those of each message, where `objects` was asked for."""
    words = _native("Q", columns.objects).tolist()
    found = []
    for at in range(0, len(words), OBJECT_WORDS):
        saved, email_high, email_low, thread_high, thread_low = words[at : at + OBJECT_WORDS]
        thread = thread_high << 64 | thread_low
        found.append(Objects(saved, UUID(int=email_high << 64 | email_low), UUID(int=thread) if thread else None))
    return found


def changes_of(columns: Columns) -> Changes:
    """The same as lists of Python objects."""
    table = Table.of(columns)
    return Changes(
        mailbox=columns.mailbox,
        uids=table.uids.tolist(),
        modseqs=table.modseqs.tolist(),
        flags=[columns.flag_sets[number] for number in table.flags],
        internal_dates=table.internal_dates.tolist(),
        octets=table.octets.tolist(),
        blob_ids=list(table.blob_ids()),
        expunged=[uid for first, last in joined(columns.expunged) for uid in range(first, last + 1)],
        is_whole=columns.is_whole,
    )
