"""Small messages fetched ahead of a client that retrieves one after the other: many in one call to the store."""

from __future__ import annotations

import time
from typing import Final
from uuid import UUID

from mail_proto.pop3.errors import NoSuchMessage
from mail_proto.pop3.maildrop import Entry, Maildrop
from mail_runtime.contracts.store import Retrieve
from mail_runtime.store_client import StoreClient

# Twice as many each time that the client went on in order; so many octets wait at most, whatever their number.
MAX_MESSAGES: Final = 64
MAX_OCTETS: Final = 256 * 1024
# Another session may remove a message meanwhile: what waited longer is asked for again.
FRESH_S: Final = 1.0


class ReadAhead:
    """Messages by number. Used by one connection, one call at a time."""

    def __init__(
        self, store: StoreClient, account_id: UUID, mailbox_id: UUID, messages: Maildrop, whole_octets: int
    ) -> None:
        self._store, self._account_id, self._mailbox_id = store, account_id, mailbox_id
        self._messages, self._whole_octets = messages, whole_octets
        self._waiting: dict[int, bytes] = {}
        self._fetched_at = 0.0
        self._expected = 1
        self._window = 1

    async def take(self, msg: int, entry: Entry) -> bytes:
        """Raises NoSuchMessage: another session removed it. Unavailable."""
        if msg in self._waiting and time.monotonic() - self._fetched_at < FRESH_S:
            self._expected = msg + 1
            return self._waiting.pop(msg)
        self._window = min(self._window * 2, MAX_MESSAGES) if msg == self._expected else 1
        self._expected = msg + 1
        wanted = self._choose(msg, entry)
        self._waiting.clear()
        found = await self._store.retrieve(
            self._account_id, Retrieve(mailbox_id=self._mailbox_id, uids=list(wanted.values()))
        )
        self._fetched_at = time.monotonic()
        self._waiting = {number: found[uid] for number, uid in wanted.items() if uid in found}
        if msg not in self._waiting:
            raise NoSuchMessage("another session removed this message")
        return self._waiting.pop(msg)

    def _choose(self, msg: int, entry: Entry) -> dict[int, int]:
        """Number and uid of the message, and of those that probably follow."""
        wanted = {msg: entry.uid}
        octets = entry.octets
        for number in self._messages.remaining(msg + 1):
            following = self._messages.entry(number)
            octets += following.octets
            if len(wanted) >= self._window or octets > MAX_OCTETS or following.octets > self._whole_octets:
                break
            wanted[number] = following.uid
        return wanted
