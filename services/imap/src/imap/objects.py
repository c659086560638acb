"""Ids and saved dates of messages in one mailbox (RFC 8474, RFC 8514): they never change, and few clients ask."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from mail_runtime.contracts.store.columns import Objects, Table, objects_of
from mail_runtime.store_client import StoreClient


class KnownObjects:
    """Read when they are asked for first, and then only of what is new."""

    def __init__(self) -> None:
        self._known: dict[int, Objects] = {}
        self._modseq = 0

    async def of(
        self, store: StoreClient, account_id: UUID, mailbox_id: UUID, uids: Sequence[int]
    ) -> dict[int, Objects]:
        """Those of the messages that are still there. Raises NotFound, Unavailable."""
        if any(uid not in self._known for uid in uids):
            columns = await store.columns(account_id, mailbox_id, self._modseq, with_objects=True)
            self._known.update(zip(Table.of(columns).uids.tolist(), objects_of(columns), strict=True))
            self._modseq = columns.mailbox.highest_modseq
        return {uid: self._known[uid] for uid in uids if uid in self._known}
