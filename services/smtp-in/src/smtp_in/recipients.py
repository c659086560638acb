"""Where recipients lead, asked from the store and remembered for a moment.

A large share of RCPTs name addresses seen a second ago. What is remembered can be stale for TTL_S, and is dropped when
the directory says that it changed: the store decides again when the message comes, so staleness costs a late refusal,
never a wrong delivery. Only what holds for every sender and takes mail is remembered: an account exists from the
moment of its creation.
"""

from __future__ import annotations

import time
from typing import Final, Protocol
from uuid import UUID

from mail_proto.smtp.replies import Reply
from mail_runtime.contracts.store import RecipientStatus, Resolution

TTL_S: Final = 5.0
MAX_REMEMBERED: Final = 10_000

# What RCPT is told (RFC 5321 §3.3, RFC 3463 §3.2). A full mailbox may be emptied: the client tries again.
REFUSALS: Final[dict[RecipientStatus, Reply]] = {
    "unknown": Reply(550, "5.1.1", "no such user here"),
    "over_quota": Reply(452, "4.2.2", "the mailbox is full; try again later"),
    "disabled": Reply(550, "5.2.1", "this account takes no mail"),
    "not_permitted": Reply(550, "5.7.1", "you are not permitted to write to this address"),
    "loop": Reply(550, "5.4.6", "mail for this address goes round in circles"),
    "too_many": Reply(550, "5.5.3", "this address leads to too many others"),
}


class Directory(Protocol):
    """The part of the store client that is used here."""

    async def resolve(
        self, addresses: list[str], reverse_path: str = "", submitted_by: UUID | None = None
    ) -> list[Resolution]: ...


class Recipients:
    """Shared by all connections of the process."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._known: dict[str, tuple[float, RecipientStatus]] = {}

    async def status(self, address: str, reverse_path: str = "", submitted_by: UUID | None = None) -> RecipientStatus:
        """What that sender is told. Raises the store's errors."""
        known = self._known.get(address)
        now = time.monotonic()
        if known is not None and now - known[0] < TTL_S:
            return known[1]
        (resolution,) = await self._directory.resolve([address], reverse_path, submitted_by)
        self._known.pop(address, None)
        if resolution.status in ("local", "remote") and not resolution.for_sender:
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[address] = (now, resolution.status)
        return resolution.status

    def forget(self, addresses: list[str]) -> None:
        """The store contradicted what is remembered."""
        for address in addresses:
            self._known.pop(address, None)

    def forget_all(self) -> None:
        """The directory changed, or may have changed while nobody could tell."""
        self._known.clear()
