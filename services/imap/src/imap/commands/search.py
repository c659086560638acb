"""SEARCH (RFC 3501 §6.4.4), SORT and THREAD (RFC 5256): the store finds; numbers and what is in the view are ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from imap.contexts import SearchContext, keep
from imap.session import Done, Selected, Session
from mail_proto.imap import render, search_view
from mail_proto.imap import search_keys as k
from mail_proto.imap.commands import Search, Sort, Thread
from mail_proto.imap.errors import Refused, SyntaxFault
from mail_proto.imap.search_results import correlator, extended, plain, saved
from mail_proto.imap.sequence import MAX_NUMBER
from mail_proto.imap.sort_keys import render_threads
from mail_proto.imap.view import View
from mail_runtime.contracts.errors import StoreError
from mail_runtime.contracts.store import Mailbox
from mail_runtime.contracts.store import search as wire


async def search(session: Session, command: Search, named: Mailbox | None = None) -> Done:
    """With RETURN, and always in IMAP4rev2, the answer is an ESEARCH (RFC 9051 §6.4.4).

    `named`: it names this mailbox, the selected one, and is left out where nothing was found (RFC 7377 §2.1).
    """
    if command.results is None and session.enabled.rev2:
        command = replace(command, results=frozenset({"ALL"}))
    await _answer(session, command, b"SEARCH", named)
    return Done("searched")


async def sort(session: Session, command: Sort) -> Done:
    """With RETURN the answer is an ESEARCH (RFC 5267 §3)."""
    await _answer(session, command, b"SORT")
    return Done("sorted")


async def _answer(session: Session, command: Search | Sort, word: bytes, named: Mailbox | None = None) -> None:
    selected = session.selected
    assert selected is not None, "checked by states.check_allowed"
    saves = command.results is not None and "SAVE" in command.results
    updates = command.results is not None and "UPDATE" in command.results
    if updates and session.tag in selected.contexts:
        raise SyntaxFault("the tag of a search that is kept up to date (RFC 5267 section 4.3)")
    modseq = selected.view.columns.modseq
    try:
        if isinstance(command, Search) and command.fault is not None:
            raise command.fault
        view, found = await _find(session, command)
    except (Refused, StoreError):
        if saves:
            selected.view.saved = []  # RFC 5182 §2.1: a search that fails leaves an empty result
        raise
    uids = wire.unpack_numbers(found.uids)
    numbers = _numbers(view, uids, by_uid=command.by_uid)
    wants_modseq = k.contains(command.key, k.Changed)
    if command.results is None:
        await session.send(plain(word, numbers, found.modseq if wants_modseq else 0))
        return
    counting = saved(command.results, uids, command.partial)
    if saves:
        view.saved = counting
    highest = max(map(view.columns.modseq_of, counting), default=0) if wants_modseq else 0
    beginning = _beginning(session, named, by_uid=command.by_uid)
    if uids or named is None:
        await session.send(extended(beginning, command.results, numbers, modseq=highest, partial=command.partial))
    if updates:
        key = to_wire(command.key, view, lasting=True)
        order = sort_by(command) if isinstance(command, Sort) else []
        by_uid, fetched = command.by_uid, command.fetched
        context = SearchContext(key, order, modseq, beginning, uids, by_uid=by_uid, fetched=fetched)
        await keep(session, selected, context)


async def thread(session: Session, command: Thread) -> Done:
    view, found = await _find(session, command)
    numbers = _numbers(view, wire.unpack_numbers(found.uids), by_uid=command.by_uid)
    shown = render_threads(numbers, wire.unpack_numbers(found.depths))
    await session.send(b"* THREAD" + (b" " + shown if shown else b"") + b"\r\n")
    return Done("threaded")


async def _find(session: Session, command: Search | Sort | Thread) -> tuple[View, wire.Found]:
    """What is found among the messages that the client has heard of: in the view where that knows, or by the store."""
    selected = session.selected
    assert selected is not None, "checked by states.check_allowed"
    view = selected.view
    if isinstance(command, Search) and (uids := await _find_known(session, selected, command.key)) is not None:
        return view, wire.Found(uids=wire.pack_numbers(uids), modseq=0)
    # What arrived meanwhile has no number yet. Uids only grow, so everything up to the last one known is in the view.
    known = wire.Uids([(1, view.last_uid)] if view.last_uid else [])
    key = wire.AllOf([known, to_wire(command.key, view)])
    match command:
        case Sort():
            wanted = wire.Search(key=key, sort=sort_by(command))
        case Thread(algorithm):
            wanted = wire.Search(key=key, thread=algorithm)
        case _:
            wanted = wire.Search(key=key)
    return view, await session.store.search(session.account_id, selected.mailbox.id, wanted)


async def _find_known(session: Session, selected: Selected, key: k.SearchKey) -> list[int] | None:
    """What is found without the store's search; None: it has to be asked."""
    if not (_is_current(session) and search_view.is_known(key, with_fields=True)):
        return None
    if search_view.is_known(key):
        return search_view.search(key, selected.view)
    fields = await session.shared.header_fields.of(session.account_id, selected.mailbox, selected.view)
    # The view may have changed meanwhile, or be known to be behind.
    return search_view.search(key, selected.view, fields) if fields is not None and _is_current(session) else None


def _is_current(session: Session) -> bool:
    """Whether the view has all that the session was told of, and would be told more.

    Rights to another's mailbox may have ended: the store knows.
    """
    watch = session.watch
    return watch.owner_id is None and session.shared.watches.is_live and not watch.changed.is_set()


def _beginning(session: Session, named: Mailbox | None, *, by_uid: bool) -> bytes:
    if named is None:
        return correlator(session.tag, by_uid=by_uid)
    name = render.mailbox(named.name, is_utf8=session.enabled.utf8)
    return correlator(session.tag, by_uid=by_uid, mailbox=name, uid_validity=named.uid_validity)


def sort_by(command: Sort) -> list[wire.SortBy]:
    return [wire.SortBy(one.by, one.reverse) for one in command.criteria]


def _numbers(view: View, uids: Sequence[int], *, by_uid: bool) -> Sequence[int]:
    """Uids as the client asked for them; 0 stays 0."""
    return uids if by_uid else [view.number(uid) if uid else 0 for uid in uids]


def to_wire(key: k.SearchKey, view: View | None, *, lasting: bool = False) -> wire.SearchKey:
    """The keys as the store knows them: numbers become uids. Numbers that no message has find nothing.

    `lasting`: sets of uids are of those to come, too. `view` None: there are no numbers.
    """

    def inside(key: k.SearchKey) -> wire.SearchKey:
        return to_wire(key, view, lasting=lasting)

    match key:
        case k.Everything():
            return wire.Everything()
        case k.Numbers(numbers, are_uids) if view is None or (lasting and are_uids and not numbers.is_saved):
            return wire.Uids(numbers.resolved(MAX_NUMBER))
        case k.Numbers(numbers, are_uids):
            assert view is not None, "by the case before"
            return wire.Uids(_ranges(view.select(numbers, by_uid=are_uids, leniently=True)))
        case k.RECENT:
            return wire.Uids(view.recent if view is not None else [])
        case k.HasFlag(flag):
            return wire.HasFlag(flag)
        case k.Size(limit, larger):
            return wire.Size(larger=limit) if larger else wire.Size(smaller=limit)
        case k.Received(first, end):
            return wire.Day("internal", first, end)
        case k.Sent(first, end):
            return wire.Day("sent", first, end)
        case k.Saved(first, end):
            return wire.Day("saved", first, end)
        case k.Age(seconds, older):
            return wire.Age(seconds, older)
        case k.Changed(since):
            return wire.Changed(since)
        case k.HasId(of, id):
            return wire.HasId(of, id)
        case k.InHeader(name, text):
            return wire.InHeader(name.decode("latin-1"), text)
        case k.InText(text, header_too):
            return wire.InText(text, header_too)
        case k.Not(inner):
            return wire.Not(inside(inner))
        case k.AnyOf(keys):
            return wire.AnyOf([inside(inner) for inner in keys])
        case k.AllOf(keys):
            return wire.AllOf([inside(inner) for inner in keys])
    assert_never(key)


def _ranges(uids: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending uids as ranges."""
    ranges: list[tuple[int, int]] = []
    for uid in uids:
        if ranges and uid == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], uid)
        else:
            ranges.append((uid, uid))
    return ranges
