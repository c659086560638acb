"""What one session knows of its selected mailbox: sequence numbers, flags, and what it has yet to tell its client.

The client's numbers change only when the session says so (RFC 3501 §7.4.1, §5.5): what was expunged keeps its place
until `announce` is allowed to give it up.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from mail_proto.imap import render
from mail_proto.imap.errors import SyntaxFault
from mail_proto.imap.sequence import SequenceSet

SYSTEM_FLAGS: Final = ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")


@dataclass(slots=True)
class Message:
    """A message in the mailbox; only its flags change."""

    uid: int
    flags: Sequence[str]
    internal_date: int
    octets: int
    blob_id: UUID

    def has(self, flag: str) -> bool:
        """Whether it carries the flag, given in lower case."""
        return any(own.lower() == flag for own in self.flags)


class View:
    """Messages in the order of their uids, numbered from 1."""

    def __init__(self, messages: Iterable[Message]) -> None:
        self._messages = {message.uid: message for message in messages}
        self.uids: list[int] = sorted(self._messages)
        self._arrived: list[int] = []
        self._changed: set[int] = set()
        self._gone: set[int] = set()
        # The last result that was saved, as uids (RFC 5182): `$`.
        self.saved: list[int] = []
        self._keywords: dict[str, str] = {}
        self._keywords_told = 0
        for message in self._messages.values():
            self._learn_keywords(message.flags)

    def __len__(self) -> int:
        return len(self.uids)

    @property
    def has_news(self) -> bool:
        """Whether `announce` has anything to say."""
        return bool(self._arrived or self._changed or self._gone)

    def message(self, uid: int) -> Message:
        return self._messages[uid]

    def number(self, uid: int) -> int:
        """The sequence number of a uid that is in the view."""
        return bisect_left(self.uids, uid) + 1

    def is_gone(self, uid: int) -> bool:
        """Whether it was expunged, though the client doesn't know yet."""
        return uid in self._gone

    def select(self, wanted: SequenceSet, *, by_uid: bool) -> list[int]:
        """The uids of the messages in a set of numbers or uids, ascending.

        Raises SyntaxFault: a number that no message has (RFC 3501 §9, seq-number). Uids may be absent.
        """
        if wanted.is_saved:
            known = set(self.uids)
            return [uid for uid in self.saved if uid in known]
        if by_uid:
            return wanted.select(self.uids)
        # `6:*` in a mailbox of five is let through: clients ask so for what is new.
        if any(max(pair) > len(self.uids) and 0 not in pair for pair in wanted.ranges):
            raise SyntaxFault(f"there are only {len(self.uids)} messages")
        return [self.uids[number - 1] for number in wanted.select(range(1, len(self.uids) + 1))]

    def first_unseen(self) -> int | None:
        """Its sequence number."""
        unseen = (number for number, uid in enumerate(self.uids, 1) if not self._messages[uid].has("\\seen"))
        return next(unseen, None)

    def flags_response(self) -> bytes:
        """`* FLAGS`: all that occur (RFC 3501 §7.2.6)."""
        self._keywords_told = len(self._keywords)
        return b"* FLAGS %b\r\n" % render.flags([*SYSTEM_FLAGS, *self._keywords.values()])

    def permanent_flags(self) -> str:
        """The response code of what can be changed: everything, new keywords too."""
        return render.flags([*SYSTEM_FLAGS, *self._keywords.values(), "\\*"]).decode("ascii")

    def _learn_keywords(self, flags: Iterable[str]) -> None:
        for flag in flags:
            if not flag.startswith("\\"):
                self._keywords.setdefault(flag.lower(), flag)

    # News

    def absorb(self, messages: Iterable[Message], expunged: Iterable[int]) -> None:
        """Take in what changed at the store; the client is told by `announce`."""
        for message in messages:
            known = self._messages.get(message.uid)
            self._learn_keywords(message.flags)
            if known is None:
                self._messages[message.uid] = message
                self._arrived.append(message.uid)
            elif set(known.flags) != set(message.flags):
                known.flags = message.flags
                self._changed.add(message.uid)
        self._gone.update(uid for uid in expunged if uid in self._messages)

    def touch(self, uids: Iterable[int]) -> None:
        """Tell the flags of these at the next occasion, whether they changed or not."""
        self._changed.update(uids)

    def hush(self, uids: Iterable[int]) -> None:
        """Don't tell the flags of these: the client has just set them (.SILENT)."""
        self._changed.difference_update(uids)

    def announce(self, *, expunges: bool, with_uid: bool = False, recent: bool = True) -> bytes:
        """The untagged responses of all news; those of EXPUNGE only where they are allowed now.

        `recent`: some clients of IMAP4rev1 wait for it (RFC 3501 §7.3.2); IMAP4rev2 has none.
        """
        pieces: list[bytes] = []
        if expunges and self._gone:
            pieces.append(self._announce_gone())
        if self._arrived:
            arrived = [uid for uid in self._arrived if uid in self._messages]
            self.uids.extend(sorted(arrived))
            self._arrived.clear()
            pieces.append(b"* %d EXISTS\r\n" % len(self.uids))
            if recent:
                pieces.append(b"* 0 RECENT\r\n")
        if self._keywords_told != len(self._keywords):
            pieces.append(self.flags_response())
        if self._changed:
            told = (uid for uid in sorted(self._changed) if uid in self._messages and not self.is_gone(uid))
            pieces.extend(self._flags_fetch(uid, with_uid=with_uid) for uid in told)
            self._changed.clear()
        return b"".join(pieces)

    def _flags_fetch(self, uid: int, *, with_uid: bool) -> bytes:
        known = b"UID %d " % uid if with_uid else b""
        return b"* %d FETCH (%bFLAGS %b)\r\n" % (self.number(uid), known, render.flags(self._messages[uid].flags))

    def _announce_gone(self) -> bytes:
        # What came and went before the client heard of it is never mentioned.
        self._arrived = [uid for uid in self._arrived if uid not in self._gone]
        announced = sorted(self._gone.intersection(self.uids), reverse=True)
        # From the end, so that each number is right when the client reads it.
        numbers = [self.number(uid) for uid in announced]
        self.uids = [uid for uid in self.uids if uid not in self._gone]
        for uid in self._gone:
            del self._messages[uid]
        self._changed -= self._gone
        self._gone.clear()
        return b"".join(b"* %d EXPUNGE\r\n" % number for number in numbers)
