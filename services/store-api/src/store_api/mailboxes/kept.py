"""Large mailboxes as they were read last, brought up to date by what changed since: bytes of the answer itself.

Reading 100,000 rows costs the database some 60 ms each time; a frontend that opens such a mailbox asks for all of them.
What is kept is only ever served after the database has said what changed since (`changes.columns`), so that a process
that has nothing, or something old, answers the same.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from typing import Final
from uuid import UUID

import msgspec

from mail_runtime.contracts.store import Columns
from mail_runtime.contracts.store.columns import WORDS, Table
from mail_runtime.contracts.store.uids import joined

MAX_OCTETS: Final = 64 * 1024 * 1024
# Smaller ones are read as fast as they are patched.
MIN_MESSAGES: Final = 2_000
# More changes than these are not patched one by one: what is removed moves all that follows.
MAX_CHANGES: Final = 2_000
MAX_REMOVED: Final = 100
MAX_FLAG_SETS: Final = 10_000

_ROW: Final = 8 * WORDS
_NUMBER: Final = 4


class KeptMailboxes:
    """Those used last, up to a sum of octets; of one process, used from its event loop."""

    def __init__(self, max_octets: int = MAX_OCTETS) -> None:
        self._max_octets = max_octets
        self._octets = 0
        self._kept: OrderedDict[tuple[UUID, UUID], Columns] = OrderedDict()

    def get(self, account_id: UUID, mailbox_id: UUID) -> Columns | None:
        """The whole mailbox as it was at its `highest_modseq`."""
        kept = self._kept.get((account_id, mailbox_id))
        if kept is not None:
            self._kept.move_to_end((account_id, mailbox_id))
        return kept

    def put(self, account_id: UUID, columns: Columns) -> None:
        """Keep a whole mailbox, if it is large, in the place of what was kept of it."""
        key = account_id, columns.mailbox.id
        self.drop(*key)
        if len(columns) < MIN_MESSAGES or _size(columns) > self._max_octets:
            return
        self._kept[key] = columns
        self._octets += _size(columns)
        while self._octets > self._max_octets:
            self._octets -= _size(self._kept.popitem(last=False)[1])

    def drop(self, account_id: UUID, mailbox_id: UUID) -> None:
        if (kept := self._kept.pop((account_id, mailbox_id), None)) is not None:
            self._octets -= _size(kept)


def _size(columns: Columns) -> int:
    return len(columns.words) + len(columns.flags)


def patched(kept: Columns, recent: Columns) -> Columns | None:
    """The whole mailbox, from what was kept and all that changed since; None: there is too much to patch."""
    gone = [uid for first, last in joined(recent.expunged) for uid in range(first, last + 1)]
    if len(recent) > MAX_CHANGES or len(gone) > MAX_REMOVED or len(kept.flag_sets) > MAX_FLAG_SETS:
        return None
    if not recent.words and not gone:
        return msgspec.structs.replace(kept, mailbox=recent.mailbox)
    words, flags = bytearray(kept.words), bytearray(kept.flags)
    flag_sets, numbers = _renumbered(kept, recent)
    uids, changed = Table.of(kept).uids, Table.of(recent)
    places: dict[int, int | None] = dict.fromkeys(gone) | {uid: place for place, uid in enumerate(changed.uids)}
    # From behind, so that the places before stay what they are.
    for uid, place in sorted(places.items(), reverse=True):
        at = bisect_left(uids, uid)
        upto = at + 1 if at < len(uids) and uids[at] == uid else at
        words[at * _ROW : upto * _ROW] = b"" if place is None else recent.words[place * _ROW : (place + 1) * _ROW]
        flags[at * _NUMBER : upto * _NUMBER] = b"" if place is None else numbers[changed.flags[place]]
    return Columns(
        mailbox=recent.mailbox,
        is_whole=True,
        words=bytes(words),
        flag_sets=flag_sets,
        flags=bytes(flags),
        expunged=[],
    )


def _renumbered(kept: Columns, recent: Columns) -> tuple[list[list[str]], list[bytes]]:
    """The sets of flags of both, and for each of `recent` its number among them, as it stands in `flags`."""
    numbers = {tuple(flag_set): number for number, flag_set in enumerate(kept.flag_sets)}
    found = [numbers.setdefault(tuple(flag_set), len(numbers)) for flag_set in recent.flag_sets]
    return [list(flag_set) for flag_set in numbers], [number.to_bytes(_NUMBER, "big") for number in found]
