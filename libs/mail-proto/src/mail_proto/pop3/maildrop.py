"""The maildrop of one session: messages numbered once at login, and marks of deletion (RFC 1939 §4, §5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from mail_proto.pop3.errors import NoSuchMessage


@dataclass(frozen=True, slots=True)
class Entry:
    """One message: its uid in the mailbox, its size in stored octets, where its octets are."""

    uid: int
    octets: int
    blob_id: UUID


class Maildrop:
    """Numbers (from 1) never change within a session; deleted messages keep theirs and can't be named."""

    def __init__(self, uid_validity: int, entries: Sequence[Entry]) -> None:
        self._uid_validity = uid_validity
        self._entries = tuple(entries)
        self._deleted: set[int] = set()

    def entry(self, msg: int) -> Entry:
        """Raises NoSuchMessage: out of range, or marked as deleted."""
        if not 1 <= msg <= len(self._entries):
            raise NoSuchMessage(f"there are {len(self._entries)} messages")
        if msg in self._deleted:
            raise NoSuchMessage("this message is deleted")
        return self._entries[msg - 1]

    def remaining(self, first: int = 1) -> Iterator[tuple[int, Entry]]:
        """Number and entry of each message from `first` on that isn't marked, in order."""
        for msg in range(max(1, first), len(self._entries) + 1):
            if msg not in self._deleted:
                yield msg, self._entries[msg - 1]

    def stat(self) -> tuple[int, int]:
        """How many messages aren't marked, and their octets together."""
        sizes = [entry.octets for _, entry in self.remaining()]
        return len(sizes), sum(sizes)

    def unique_id(self, msg: int) -> str:
        """Stable over sessions, printable, at most 70 characters (RFC 1939 §7, UIDL)."""
        return f"{self._uid_validity}.{self.entry(msg).uid}"

    def delete(self, msg: int) -> None:
        """Mark. Raises NoSuchMessage."""
        self.entry(msg)
        self._deleted.add(msg)

    def reset(self) -> None:
        """Take back all marks (RSET)."""
        self._deleted.clear()

    def marked_uids(self) -> list[int]:
        """Uids to remove in the UPDATE state, ascending."""
        return sorted(self._entries[msg - 1].uid for msg in self._deleted)
