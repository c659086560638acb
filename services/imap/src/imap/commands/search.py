"""SEARCH (RFC 3501 §6.4.4): the store searches; numbers and what is in the view are ours."""

from __future__ import annotations

from typing import assert_never

from imap.session import Done, Session
from mail_proto.imap import search_keys as k
from mail_proto.imap.commands import Search
from mail_proto.imap.view import View
from mail_runtime.contracts.store import search as wire


async def search(session: Session, command: Search) -> Done:
    selected = session.selected
    assert selected is not None, "checked by states.check_allowed"
    view = selected.view
    wanted = wire.Search(key=to_wire(command.key, view))
    found = await session.store.search(session.account_id, selected.mailbox.id, wanted)
    # What arrived meanwhile has no number yet, and the client hasn't heard of it.
    known = set(view.uids)
    uids = [uid for uid in wire.unpack_numbers(found.uids) if uid in known]
    numbers = uids if command.by_uid else [view.number(uid) for uid in uids]
    await session.send(b"* SEARCH" + b"".join(b" %d" % number for number in numbers) + b"\r\n")
    return Done("searched")


def to_wire(key: k.SearchKey, view: View) -> wire.SearchKey:
    """The keys as the store knows them: numbers become uids. Raises SyntaxFault: a number that no message has."""
    match key:
        case k.Everything():
            return wire.Everything()
        case k.Numbers(numbers, are_uids):
            return wire.Uids(_ranges(view.select(numbers, by_uid=are_uids)))
        case k.HasFlag(flag):
            return wire.HasFlag(flag)
        case k.Size(limit, larger):
            return wire.Size(larger=limit) if larger else wire.Size(smaller=limit)
        case k.Received(first, end):
            return wire.Day("internal", first, end)
        case k.Sent(first, end):
            return wire.Day("sent", first, end)
        case k.InHeader(name, text):
            return wire.InHeader(name.decode("latin-1"), text)
        case k.InText(text, header_too):
            return wire.InText(text, header_too)
        case k.Not(inner):
            return wire.Not(to_wire(inner, view))
        case k.AnyOf(keys):
            return wire.AnyOf([to_wire(inner, view) for inner in keys])
        case k.AllOf(keys):
            return wire.AllOf([to_wire(inner, view) for inner in keys])
    assert_never(key)


def _ranges(uids: list[int]) -> list[tuple[int, int]]:
    """Ascending uids as ranges."""
    ranges: list[tuple[int, int]] = []
    for uid in uids:
        if ranges and uid == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], uid)
        else:
            ranges.append((uid, uid))
    return ranges
