"""What one session knows of its selected mailbox: sequence numbers, and what it has yet to tell its client.

The client's numbers change only when the session says so (RFC 9051 §7.5.1, §5.5): what was expunged keeps its place
until `announce` is allowed to give it up. Numbers are places in an array of uids, of which a view knows the first so
many; as a rule that is the array of the mailbox itself (`mailbox_columns`), shared by all views. Only a view that has
something expunged to tell holds on to an older one.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from mail_proto.imap import render, sequence
from mail_proto.imap.errors import SyntaxFault
from mail_proto.imap.fetch_plan import COLUMNS
from mail_proto.imap.mailbox_columns import MailboxColumns, Message
from mail_proto.imap.rights import right_for
from mail_proto.imap.sequence import SequenceSet

SYSTEM_FLAGS: Final = ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")


@dataclass(frozen=True, slots=True)
class Telling:
    """How news are told: as the client has enabled, and as the command that is under way allows.

    `expunges`: numbers may change now. `with_uid`: FETCH names uids. `with_modseq`: … and modseqs (RFC 7162 §3.2.4).
    `vanished`: VANISHED instead of EXPUNGE (RFC 7162 §3.2.10). `recent`: some clients of IMAP4rev1 wait for RECENT
    (RFC 3501 §7.3.2). `arrivals`, `changes`: they are wanted (RFC 5465); what a command of the client asked for is told
    in any case.
    """

    expunges: bool = True
    with_uid: bool = False
    with_modseq: bool = False
    vanished: bool = False
    recent: bool = True
    arrivals: bool = True
    changes: bool = True


class View:
    """Messages in the order of their uids, numbered from 1. Close it when the mailbox isn't looked at any more."""

    def __init__(self, columns: MailboxColumns) -> None:
        self.columns = columns
        # The last result that was saved, as uids (RFC 5182): `$`.
        self.saved: list[int] = []
        # Up to here the client knows everything (RFC 7162 §6).
        self.told_modseq = columns.modseq
        self._uids, self._count = columns.uids, len(columns)
        self._changed: set[int] = set()
        self._quiet: set[int] = set()
        self._asked: set[int] = set()
        self._gone: dict[int, Message] = {}
        self._keywords_told = 0
        # \\Recent for this session (RFC 3501 §2.3.2): ranges of uids, ascending.
        self.recent: list[tuple[int, int]] = []
        columns.watchers.add(self)

    def close(self) -> None:
        self.columns.watchers.discard(self)

    def __len__(self) -> int:
        return self._count

    @property
    def last_uid(self) -> int:
        """The highest that the client knows; 0: none."""
        return self._uids[self._count - 1] if self._count else 0

    @property
    def has_news(self) -> bool:
        """Whether `announce` has anything to say."""
        return bool(self._changed or self._gone) or (bool(self.columns.uids) and self.columns.uids[-1] > self.last_uid)

    def known_uids(self) -> Sequence[int]:
        """Of all that the client knows, also of what is gone."""
        return self._uids[: self._count]

    def knows(self, uid: int) -> bool:
        at = bisect_left(self._uids, uid, 0, self._count)
        return at < self._count and self._uids[at] == uid

    def message(self, uid: int) -> Message:
        """One that the view knows, also if it is gone."""
        found = self.columns.message(uid)
        return self._gone[uid] if found is None else found

    def number(self, uid: int) -> int:
        """The sequence number of a uid that is in the view."""
        return bisect_left(self._uids, uid, 0, self._count) + 1

    def is_gone(self, uid: int) -> bool:
        """Whether it was expunged, though the client doesn't know yet."""
        return uid in self._gone

    @property
    def gone_uids(self) -> list[int]:
        """Ascending: expunged, and the client doesn't know yet."""
        return sorted(self._gone)

    def uids_above(self, uid: int) -> Sequence[int]:
        """Those that the client knows of beyond a uid."""
        return self._uids[bisect_right(self._uids, uid, 0, self._count) : self._count]

    def add_recent(self, told: int, last: int) -> None:
        """Messages above the uid `told` are \\Recent, up to `last`; called in ascending order."""
        before = self.recent[-1] if self.recent else (0, 0)
        first = max(told, before[1]) + 1
        if first > last:
            return
        if self.recent and first == before[1] + 1:
            self.recent[-1] = (before[0], last)
        else:
            self.recent.append((first, last))

    def is_recent(self, uid: int) -> bool:
        if not self.recent:
            return False
        at = bisect_right(self.recent, (uid, inf)) - 1
        return at >= 0 and uid <= self.recent[at][1]

    def count_recent(self) -> int:
        """Those that the client knows."""
        return sum(end - start for start, end in (self._between(*pair) for pair in self.recent))

    def arrived_uid(self) -> int:
        """The highest uid that the client isn't told of yet; 0: nothing has arrived."""
        uids = self.columns.uids
        return uids[-1] if uids and uids[-1] > self.last_uid else 0

    def is_told(self, uid: int) -> bool:
        """Whether the client knows the flags as they are known here."""
        return uid not in self._changed

    def select(self, wanted: SequenceSet, *, by_uid: bool, leniently: bool = False) -> Sequence[int]:
        """The uids of the messages in a set of numbers or uids, ascending.

        Raises SyntaxFault: a number that no message has (RFC 9051 §9, seq-number), unless `leniently`. Uids may be
        absent.
        """
        if wanted.is_saved:
            return [uid for uid in self.saved if self.knows(uid)]
        if by_uid:
            places = [self._between(first, last) for first, last in wanted.resolved(self.last_uid)]
        else:
            if not leniently:
                self._check_numbers(wanted)
            places = [(max(0, first - 1), min(last, self._count)) for first, last in wanted.resolved(self._count)]
        if len(places) == 1:
            ((start, end),) = places
            return self._uids[start:end]
        found: list[int] = []
        for start, end in places:
            found += self._uids[start:end]
        return found

    def _between(self, first: int, last: int) -> tuple[int, int]:
        """Where the messages with these uids and those between them stand, half-open."""
        start = bisect_left(self._uids, first, 0, self._count)
        return start, bisect_right(self._uids, last, start, self._count)

    def _check_numbers(self, wanted: SequenceSet) -> None:
        """Raises SyntaxFault: a number that no message has (RFC 9051 §9, seq-number)."""
        # `6:*` in a mailbox of five is let through: clients ask so for what is new.
        for first, last in wanted.ranges:
            if (first > self._count or last > self._count) and first and last:
                raise SyntaxFault(f"there are only {self._count} messages")

    def has_gone(self) -> bool:
        """Whether anything was expunged that the client doesn't know of yet."""
        return bool(self._gone)

    def places(self, uids: Sequence[int]) -> Sequence[int]:
        """Where these messages stand in the columns, a range if they are neighbours.

        Ascending uids of messages that are there; nothing has gone, so that these are their numbers less one.
        """
        columns = self.columns.uids
        start = bisect_left(columns, uids[0])
        end = start + len(uids)
        if end <= len(columns) and columns[end - 1] == uids[-1]:
            return range(start, end)
        return [bisect_left(columns, uid, start) for uid in uids]

    def fetched(self, places: Sequence[int], names: Sequence[str]) -> bytes:
        """`* FETCH` with `COLUMNS` of the messages at these `places`; quicker than one by one."""
        line = b"* %d FETCH (" + b" ".join([COLUMNS[name] for name in names]) + b")\r\n"
        numbers = [place + 1 for place in places]
        values = zip(numbers, *(self._column(name, places) for name in names), strict=True)
        return b"".join([line % value for value in values])

    def _column(self, name: str, places: Sequence[int]) -> Iterable[object]:
        found = self.columns.column(name, places)
        if name != "FLAGS" or not self.recent:
            return found
        uids = map(self.columns.uids.__getitem__, places)
        return [
            render.with_recent(one) if isinstance(one, bytes) and self.is_recent(uid) else one
            for one, uid in zip(found, uids, strict=True)
        ]

    def first_unseen(self) -> int | None:
        """Its sequence number. For a view that has just been opened."""
        at = self.columns.first_without("\\seen", self._count)
        return None if at is None else at + 1

    def flags_response(self) -> bytes:
        """`* FLAGS`: all that occur (RFC 9051 §7.3.5)."""
        self._keywords_told = self.columns.keywords_version
        return b"* FLAGS %b\r\n" % render.flags([*SYSTEM_FLAGS, *self.columns.keywords.values()])

    def permanent_flags(self, rights: str = "swt") -> str:
        """The response code of what can be changed with these rights (RFC 4314 §5.1.1): with all of them everything,
        new keywords too.
        """
        flags = [*SYSTEM_FLAGS, *self.columns.keywords.values(), "\\*"]
        return render.flags(flag for flag in flags if right_for(flag) in rights).decode("ascii")

    # News

    def is_settled(self) -> bool:
        """Whether `announce` has nothing to say, whatever it may say; the client knows everything then."""
        if self._gone or self._changed or self._quiet or self._keywords_told != self.columns.keywords_version:
            return False
        if self.columns.uids and self.columns.uids[-1] > self.last_uid:
            return False
        self._asked = set()
        self.told_modseq = self.columns.modseq
        return True

    def note(self, changed: Iterable[int], removed: Sequence[Message]) -> None:
        """The mailbox has changed; the client is told by `announce`."""
        last = self.last_uid
        self._changed.update(uid for uid in changed if uid <= last)
        for message in removed:
            if message.uid <= last:
                self._gone[message.uid] = message
        if removed:
            self._changed.difference_update(self._gone)
            self._quiet.difference_update(self._gone)
            self._asked.difference_update(self._gone)

    def touch(self, uids: Iterable[int], *, quietly: bool = False) -> None:
        """Tell of these at the next occasion, whether they changed or not; `quietly`: only their modseqs."""
        here = [uid for uid in uids if uid not in self._gone]
        (self._quiet if quietly else self._changed).update(here)
        self._asked.update(here)

    def hush(self, uids: Iterable[int]) -> None:
        """Don't tell the flags of these: the client has just set them (.SILENT)."""
        self._changed.difference_update(uids)

    def announce(self, telling: Telling) -> bytes:
        """The untagged responses of all news; those of EXPUNGE only where they are allowed now."""
        pieces: list[bytes] = []
        if telling.expunges and self._gone:
            pieces.append(self._announce_gone(telling))
        if arrived := telling.arrivals and self._take_arrivals():
            pieces.append(b"* %d EXISTS\r\n" % self._count)
            if telling.recent:
                pieces.append(b"* %d RECENT\r\n" % self.count_recent())
        told = self._changed | self._quiet if telling.with_modseq else self._changed
        if not telling.changes:
            told = told & self._asked
        if self._keywords_told != self.columns.keywords_version and (telling.arrivals or told):
            pieces.append(self.flags_response())
        pieces += [self.state(uid, telling, flags=uid in self._changed) for uid in sorted(told)]
        self._changed, self._quiet, self._asked = (set() if telling.changes else self._changed - told), set(), set()
        if not (telling.arrivals and telling.changes):
            pass  # the client doesn't hear everything
        elif not self._gone:
            self.told_modseq = self.columns.modseq
        elif telling.vanished and (told or arrived):
            # What vanished is still to be told: the client must not take the modseqs above for all (RFC 7162 §6).
            pieces.append(b"* OK [HIGHESTMODSEQ %d] more to come\r\n" % self.told_modseq)
        return b"".join(pieces)

    def _take_arrivals(self) -> bool:
        """Know everything from now on; whether something is new."""
        last, before = self.last_uid, self._count
        uids = self.columns.uids
        if not self._gone:
            self._uids, self._count = uids, len(uids)
            return bool(uids) and uids[-1] > last
        start = bisect_right(uids, last)
        if start == len(uids):
            return False
        self._uids = array("I", self._uids[:before])
        self._uids.extend(uids[start:])
        self._count = len(self._uids)
        return True

    def _announce_gone(self, telling: Telling) -> bytes:
        gone = sorted(self._gone)
        # From the end, so that each number is right when the client reads it.
        numbers = [self.number(uid) for uid in reversed(gone)]
        last = self.last_uid
        self._gone = {}
        self._uids, self._count = self.columns.uids, bisect_right(self.columns.uids, last)
        if telling.vanished:
            return b"* VANISHED %b\r\n" % sequence.render(gone)
        return b"".join(b"* %d EXPUNGE\r\n" % number for number in numbers)

    def _rendered_flags(self, uid: int, at: int) -> bytes:
        rendered = self.columns.rendered_flags(at)
        return render.with_recent(rendered) if self.is_recent(uid) else rendered

    def state(self, uid: int, telling: Telling, *, flags: bool = True) -> bytes:
        """`* FETCH` of what may change in a message that is there."""
        at = self.columns.place(uid)
        assert at is not None, "what is gone isn't told of"
        items = []
        if telling.with_uid or telling.with_modseq:
            items.append(b"UID %d" % uid)
        if telling.with_modseq:
            items.append(b"MODSEQ (%d)" % self.columns.modseq_of(uid))
        if flags:
            items.append(b"FLAGS " + self._rendered_flags(uid, at))
        return b"* %d FETCH (%b)\r\n" % (self.number(uid), b" ".join(items))
