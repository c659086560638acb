"""Small messages fetched ahead of a client that retrieves one after the other: many in one call to the store."""

from __future__ import annotations

import time
from typing import Final
from uuid import UUID

from mail_proto.pop3.errors import NoSuchMessage
from mail_proto.pop3.maildrop import Entry, Maildrop
from mail_runtime.contracts.store import Retrieve
from mail_runtime.store_client import StoreClient

# Four times as many each time that the client went on in order; so many octets wait at most, whatever their number.
GROWTH: Final = 4
MAX_MESSAGES: Final = 256
MAX_OCTETS: Final = 512 * 1024
# Another session may remove a message meanwhile: what waited longer is asked for again.
FRESH_S: Final = 1.0
# Of all connections of the process together; when it is used up nothing is fetched ahead.
BUDGET_OCTETS: Final = 128 * 1024 * 1024


class Budget:
    """How many octets wait for clients in this process."""

    def __init__(self, octets: int = BUDGET_OCTETS) -> None:
        self._left = octets

    def take(self, octets: int) -> bool:
        """Whether there was room for them."""
        if octets > self._left:
            return False
        self._left -= octets
        return True

    def give_back(self, octets: int) -> None:
        self._left += octets


class ReadAhead:
    """Messages by number. Used by one connection, one call at a time; `close` it."""

    def __init__(
        self,
        store: StoreClient,
        account_id: UUID,
        mailbox_id: UUID,
        messages: Maildrop,
        whole_octets: int,
        budget: Budget,
    ) -> None:
        self._store, self._account_id, self._mailbox_id = store, account_id, mailbox_id
        self._messages, self._whole_octets, self._budget = messages, whole_octets, budget
        self._waiting: dict[int, bytes] = {}
        self._taken = 0
        self._fetched_at = 0.0
        self._expected = 0
        self._window = 1

    async def take(self, msg: int, entry: Entry) -> bytes:
        """Raises NoSuchMessage: another session removed it. Unavailable."""
        if msg in self._waiting and time.monotonic() - self._fetched_at < FRESH_S:
            self._expected = msg + 1
            return self._waiting.pop(msg)
        self.close()
        self._window = min(self._window * GROWTH, MAX_MESSAGES) if msg == self._expected else 1
        self._expected = msg + 1
        wanted, octets = self._choose(msg, entry)
        if octets and not self._budget.take(octets):
            wanted, octets = {msg: entry.uid}, 0
        self._taken = octets
        found = await self._store.retrieve(
            self._account_id, Retrieve(mailbox_id=self._mailbox_id, uids=list(wanted.values()))
        )
        self._fetched_at = time.monotonic()
        self._waiting = {number: found[uid] for number, uid in wanted.items() if uid in found}
        if msg not in self._waiting:
            raise NoSuchMessage("another session removed this message")
        return self._waiting.pop(msg)

    def close(self) -> None:
        """Forget what waits."""
        self._waiting.clear()
        self._budget.give_back(self._taken)
        self._taken = 0

    def _choose(self, msg: int, entry: Entry) -> tuple[dict[int, int], int]:
        """Number and uid of the message, and of those that probably follow; the octets of these."""
        wanted = {msg: entry.uid}
        octets = 0
        for number in self._messages.remaining(msg + 1):
            following = self._messages.size(number)
            if len(wanted) >= self._window or octets + following > MAX_OCTETS or following > self._whole_octets:
                break
            octets += following
            wanted[number] = self._messages.entry(number).uid
        return wanted, octets
