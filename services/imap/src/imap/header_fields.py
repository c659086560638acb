"""Header fields of mailboxes that are searched: asked for once, as messages never change.

A search for them takes the store a millisecond, and a user types several. Looking through those of 100 messages takes
some microseconds.
"""

from __future__ import annotations

import sys
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from mail_proto.imap.search_view import Fields, known_uids
from mail_proto.imap.view import View
from mail_runtime.contracts.errors import NotFound
from mail_runtime.contracts.store import Mailbox
from mail_runtime.store_client import StoreClient

# Ours: a search in a larger mailbox is left to the store, as its fields would be many to ask for.
MAX_MESSAGES: Final = 1_000
# Ours: some of the messages weren't indexed yet, or the store knows no such question. Meanwhile it searches.
RETRY_S: Final = 5.0
# What a mailbox takes beside its messages, and a message beside its texts.
_MAILBOX_OCTETS: Final = 1_000
_MESSAGE_OCTETS: Final = 300


@dataclass(slots=True)
class _Known:
    """Of one mailbox: fields by uid. `ask_at`: not before this is the store asked again, by the monotonic clock."""

    uid_validity: int
    fields: dict[int, Fields] = field(default_factory=dict)
    octets: int = _MAILBOX_OCTETS
    ask_at: float = 0.0


class HeaderFields:
    """Those of the mailboxes searched last, up to a sum of octets. Of one event loop."""

    def __init__(self, store: StoreClient, max_octets: int) -> None:
        self._store, self._max_octets = store, max_octets
        self._octets = 0
        self._kept: OrderedDict[UUID, _Known] = OrderedDict()

    async def of(self, account_id: UUID, mailbox: Mailbox, view: View) -> Mapping[int, Fields] | None:
        """By uid, of all messages of the view at least; None: the store has to search. The mailbox is an own one.

        Raises Unavailable.
        """
        if len(view) > MAX_MESSAGES:
            return None
        known = self._known(mailbox)
        if _missing(known, view) and time.monotonic() >= known.ask_at:
            await self._ask(known, account_id, mailbox, view)
        return None if _missing(known, view) else known.fields

    def _known(self, mailbox: Mailbox) -> _Known:
        """Of the mailbox, which is the one used last then."""
        known = self._kept.get(mailbox.id)
        if known is None or known.uid_validity != mailbox.uid_validity:
            self._octets += _MAILBOX_OCTETS - (known.octets if known else 0)
            known = self._kept[mailbox.id] = _Known(mailbox.uid_validity)
        self._kept.move_to_end(mailbox.id)
        return known

    async def _ask(self, known: _Known, account_id: UUID, mailbox: Mailbox, view: View) -> None:
        known.ask_at = time.monotonic() + RETRY_S
        blob_ids = {uid: UUID(int=view.message(uid).blob) for uid in _missing(known, view)}
        try:
            answers = await self._store.header_fields(account_id, list(set(blob_ids.values())))
        except NotFound:
            return  # a store of the release before
        by_blob = {
            one.blob_id: Fields((one.subject, one.from_, one.to, one.cc, one.bcc), one.sent_day) for one in answers
        }
        here = set(known_uids(view))
        known.fields = {uid: fields for uid, fields in known.fields.items() if uid in here}
        known.fields |= {uid: by_blob[blob_id] for uid, blob_id in blob_ids.items() if blob_id in by_blob}
        if len(by_blob) == len(set(blob_ids.values())):
            known.ask_at = 0.0
        self._keep_within_bounds(mailbox, known)

    def _keep_within_bounds(self, mailbox: Mailbox, known: _Known) -> None:
        octets = _MAILBOX_OCTETS + sum(map(_octets, known.fields.values()))
        if self._kept.get(mailbox.id) is known:
            self._octets += octets - known.octets
        known.octets = octets
        while self._octets > self._max_octets:
            self._octets -= self._kept.popitem(last=False)[1].octets


def _missing(known: _Known, view: View) -> list[int]:
    return [uid for uid in known_uids(view) if uid not in known.fields]


def _octets(fields: Fields) -> int:
    return _MESSAGE_OCTETS + sum(map(sys.getsizeof, fields.texts))
