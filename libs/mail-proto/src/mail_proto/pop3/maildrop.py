"""The maildrop of one session: messages numbered once at login, and marks of deletion (RFC 1939 §4, §5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from mail_proto.pop3.errors import NoSuchMessage


@dataclass(frozen=True, slots=True)
class Entry:
    """One message: its uid in the mailbox, its size in stored octets, where its octets are, what it is for ever."""

    uid: int
    octets: int
    blob_id: UUID
    email_id: UUID


class Maildrop:
    """Numbers (from 1) never change within a session; deleted messages keep theirs and can't be named."""

    def __init__(
        self, uids: Sequence[int], octets: Sequence[int], blob_ids: Sequence[UUID], email_ids: Sequence[UUID]
    ) -> None:
        """Parallel columns, ascending by uid."""
        self._uids, self._octets, self._blob_ids, self._email_ids = uids, octets, blob_ids, email_ids
        self._deleted: set[int] = set()
        self._left, self._left_octets = len(uids), sum(octets)
        self._unique_ids: list[str] | None = None

    def __len__(self) -> int:
        """How many messages there were at login."""
        return len(self._uids)

    def entry(self, msg: int) -> Entry:
        """Raises NoSuchMessage: out of range, or marked as deleted."""
        if not 1 <= msg <= len(self._uids):
            raise NoSuchMessage(f"there are {len(self._uids)} messages")
        if msg in self._deleted:
            raise NoSuchMessage("this message is deleted")
        at = msg - 1
        return Entry(self._uids[at], self._octets[at], self._blob_ids[at], self._email_ids[at])

    def remaining(self, first: int = 1) -> Iterator[int]:
        """The number of each message from `first` on that isn't marked, in order."""
        return (msg for msg in range(max(1, first), len(self._uids) + 1) if msg not in self._deleted)

    def size(self, msg: int) -> int:
        """Octets of a message by its number. Raises NoSuchMessage."""
        return self.entry(msg).octets

    def sizes(self) -> Iterator[tuple[int, int]]:
        """Number and octets of all that remain."""
        return ((msg, self._octets[msg - 1]) for msg in self.remaining())

    def stat(self) -> tuple[int, int]:
        """How many messages aren't marked, and their octets together."""
        return self._left, self._left_octets

    def unique_id(self, msg: int) -> str:
        """Stable over sessions, printable, at most 70 characters (RFC 1939 §7, UIDL). Raises NoSuchMessage.

        The message's email id (RFC 8474 §5.1), which copying, moving and restoring keep. A second copy of a message
        in the same mailbox, which has the same email id, is told from the first by its uid.
        """
        self.entry(msg)
        if self._unique_ids is None:
            self._unique_ids = self._make_unique_ids()
        return self._unique_ids[msg - 1]

    def _make_unique_ids(self) -> list[str]:
        if len(set(self._email_ids)) == len(self._email_ids):
            return [email_id.hex for email_id in self._email_ids]
        known: set[UUID] = set()
        found: list[str] = []
        for uid, email_id in zip(self._uids, self._email_ids, strict=True):
            found.append(f"{email_id.hex}.{uid}" if email_id in known else email_id.hex)
            known.add(email_id)
        return found

    def delete(self, msg: int) -> None:
        """Mark. Raises NoSuchMessage."""
        self._left_octets -= self.entry(msg).octets
        self._left -= 1
        self._deleted.add(msg)

    def reset(self) -> None:
        """Take back all marks (RSET)."""
        self._deleted.clear()
        self._left, self._left_octets = len(self._uids), sum(self._octets)

    def marked_uids(self) -> list[int]:
        """Uids to remove in the UPDATE state, ascending."""
        return sorted(self._uids[msg - 1] for msg in self._deleted)
