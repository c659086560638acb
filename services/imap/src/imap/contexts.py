"""Searches whose results are kept up to date (RFC 5267 §4.3), as long as their mailbox is selected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import structlog

from mail_proto.imap.fetch_items import FetchItem
from mail_proto.imap.search_results import quoted
from mail_proto.imap.search_updates import SearchUpdates
from mail_proto.imap.view import View
from mail_runtime.contracts.errors import StoreError
from mail_runtime.contracts.store import search as wire

if TYPE_CHECKING:
    from imap.session import Selected, Session

log = structlog.get_logger()

# Ours: each costs a search when the mailbox changes.
MAX_CONTEXTS: Final = 16


class SearchContext:
    """One search. `order`: of SORT; empty: by uid. `modseq`: what changed after it is yet to be looked at.

    `fetched`: what is told of new messages that are among the results (RFC 5465 §7).
    """

    def __init__(
        self,
        key: wire.SearchKey,
        order: list[wire.SortBy],
        modseq: int,
        beginning: bytes,
        results: Iterable[int],
        *,
        by_uid: bool,
        fetched: tuple[FetchItem, ...] = (),
    ) -> None:
        self.fetched = fetched
        self._key, self._order, self._modseq, self._by_uid = key, order, modseq, by_uid
        self._updates = SearchUpdates(beginning, results, is_sorted=bool(order))

    def of_gone(self, view: View) -> bytes:
        """REMOVEFROM of what was expunged: while the client still knows its numbers (§4.3.4)."""
        return self._updates.without(view.gone_uids, lambda uids: self._numbers(view, uids))

    async def of_changed(self, session: Session, selected: Selected) -> tuple[bytes, Sequence[int]]:
        """What messages that came or changed did to the results, and which of these are results now.

        Raises StoreError: they are looked at next time.
        """
        view = selected.view
        modseq = view.columns.modseq
        if modseq <= self._modseq:
            return b"", ()
        changed = [uid for uid in view.columns.changed_since(self._modseq) if uid <= view.last_uid]
        if not changed:
            self._modseq = modseq
            return b"", ()
        keys: list[wire.SearchKey] = [wire.Uids([(1, view.last_uid)]), self._key]
        if not self._order:
            keys.append(wire.Changed(self._modseq + 1))
        wanted = wire.Search(key=wire.AllOf(keys), sort=self._order)
        found = await session.store.search(session.account_id, selected.mailbox.id, wanted)
        # What changed since the view was read is looked at next time.
        uids = wire.unpack_numbers(found.uids)
        self._modseq = modseq

        def numbers(uids: Sequence[int]) -> Sequence[int]:
            return self._numbers(view, uids)

        if self._order:
            return self._updates.become(uids, numbers), uids
        return self._updates.update(changed, uids, numbers), uids

    def _numbers(self, view: View, uids: Sequence[int]) -> Sequence[int]:
        return uids if self._by_uid else [view.number(uid) for uid in uids]


async def keep(session: Session, selected: Selected, context: SearchContext) -> None:
    """Keep it up to date from now on, unless there are too many already (§4.3.1)."""
    if len(selected.contexts) < MAX_CONTEXTS:
        selected.contexts[session.tag] = context
    elif b"]" in session.tag:
        await session.send(b"* NO too many searches are kept up to date\r\n")
    else:
        await session.send(b"* NO [NOUPDATE %b] too many searches are kept up to date\r\n" % quoted(session.tag))


def gone(selected: Selected) -> bytes:
    """Before EXPUNGE: what that does to results."""
    if not selected.contexts or not selected.view.has_gone():
        return b""
    return b"".join([context.of_gone(selected.view) for context in selected.contexts.values()])


async def changed(
    session: Session, selected: Selected, arrived: Sequence[int]
) -> tuple[bytes, dict[int, tuple[FetchItem, ...]]]:
    """After EXISTS and FETCH: what that does to results, and what is to be fetched of those that arrived.

    Nothing is lost when the store doesn't answer.
    """
    told = b""
    fetched: dict[int, tuple[FetchItem, ...]] = {}
    try:
        for context in list(selected.contexts.values()):
            response, uids = await context.of_changed(session, selected)
            told += response
            if context.fetched and arrived:
                for uid in set(uids).intersection(arrived):
                    fetched[uid] = tuple(dict.fromkeys((*fetched.get(uid, ()), *context.fetched)))
    except StoreError as error:
        log.info("updates_wait", error=str(error))
        session.watch.changed.set()
    return told, fetched
