"""News: what is told to a client before the tagged reply to its command, in IDLE, and after NOTIFY at any time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import structlog

from imap import contexts
from imap.commands.fetch import fetch_arrived
from imap.commands.notify import tell_others
from imap.recent import has_recent
from imap.session import Selected, Session
from mail_proto.imap import commands as c
from mail_proto.imap.errors import ImapFault
from mail_proto.imap.fetch_items import FetchItem
from mail_proto.imap.search_keys import has_sequence_numbers
from mail_proto.imap.view import Telling
from mail_runtime.contracts import errors as store_errors

log = structlog.get_logger()

# Before it is looked again after the store didn't answer.
RETRY_S: Final = 1.0
_IDLE: Final = c.Simple("IDLE")


class MailboxGone(Exception):
    """The selected mailbox was deleted, or its rights were lost: the session can't go on (RFC 2180 §3)."""


def are_none(session: Session) -> bool:
    """Whether `tell_news` has certainly nothing to tell: as a rule."""
    watch, selected = session.watch, session.selected
    if watch.others_changed or watch.changed.is_set():
        return False
    return selected is None or _knows_all(session, selected)


async def tell_news(session: Session, command: c.Command) -> None:
    """Before the tagged OK: what changed in the selected mailbox, as far as it may be said now, and in others."""
    watch = session.watch
    if not isinstance(command, c.Select) and session.selected is not None and watch.changed.is_set():
        try:
            await session.refresh()
        except (store_errors.NotFound, store_errors.NotPermitted) as error:
            raise MailboxGone("the mailbox is gone") from error
        except store_errors.Unavailable:
            watch.changed.set()  # nothing is lost: the next command tries again
    if not isinstance(command, c.Select):
        await tell_known_news(session, command)
    if watch.others_changed:
        try:
            await tell_others(session)
        except store_errors.StoreError:
            watch.others_changed = True


async def tell_known_news(session: Session, command: c.Command) -> None:
    selected = session.selected
    if selected is not None and not _knows_all(session, selected):
        await _tell(session, selected, _telling(session, command))


def _knows_all(session: Session, selected: Selected) -> bool:
    """Whether there is certainly nothing to tell: as a rule."""
    return (
        session.listening is None
        and not selected.contexts
        and selected.told_rights == selected.rights
        and selected.view.is_settled()
    )


async def push(session: Session, *, is_idle: bool, is_due: bool) -> None:
    """Between commands, and in IDLE: look what changed, and tell it. `is_due`: look at everything; nothing was heard.

    Raises MailboxGone.
    """
    watch = session.watch
    watch.changed.clear()
    try:
        await session.refresh()
        if is_due or watch.others_changed:
            await tell_others(session)
    except (store_errors.NotFound, store_errors.NotPermitted) as error:
        raise MailboxGone("the mailbox is gone") from error
    except store_errors.StoreError as error:
        log.info("push_waits", error=str(error))
        await asyncio.sleep(RETRY_S)
        watch.others_changed = True
        watch.changed.set()
        return
    if session.selected is not None:
        await _tell(session, session.selected, _telling(session, _IDLE, at_rest=not is_idle))


async def _tell(session: Session, selected: Selected, telling: Telling) -> None:
    """All that is known to be new, in the order that keeps numbers right (RFC 5267 §4.3, RFC 5465 §5.2)."""
    view = selected.view
    last = view.last_uid
    if telling.recent and telling.arrivals:
        _add_recent(session, selected)
    await session.send(selected.rights_news() + contexts.gone(selected) + view.announce(telling))
    arrived = view.uids_above(last) if telling.arrivals else ()
    told = b""
    fetched: dict[int, tuple[FetchItem, ...]] = {}
    if selected.contexts:
        told, fetched = await contexts.changed(session, selected, arrived)
    new = [uid for uid in arrived if uid not in selected.own_uids]
    selected.own_uids.difference_update(arrived)
    items = _of_new(session)
    if fetched:  # RFC 5465 §7: before the ESEARCH
        for uid in new:
            await _fetch(session, selected, [uid], tuple(dict.fromkeys((*items, *fetched.get(uid, ())))))
    await session.send(told)
    if not fetched:
        await _fetch(session, selected, new, items)


def _add_recent(session: Session, selected: Selected) -> None:
    """What arrived is \\Recent for the first that is told of it."""
    arrived = selected.view.arrived_uid()
    if not arrived or not has_recent(selected.mailbox):
        return
    recents = session.shared.recents
    told = recents.told(selected.mailbox) if selected.examined else recents.arrived(selected.mailbox, arrived)
    selected.view.add_recent(max(told, selected.view.last_uid), arrived)


def _of_new(session: Session) -> tuple[FetchItem, ...]:
    """What NOTIFY wants to know of new messages of the selected mailbox."""
    group = session.listening.wanted.selected if session.listening is not None else None
    return group.fetched if group is not None else ()


async def _fetch(session: Session, selected: Selected, uids: Sequence[int], items: tuple[FetchItem, ...]) -> None:
    """Who doesn't get it asks for it: the client knows of the message."""
    if not uids or not items:
        return
    try:
        await fetch_arrived(session, selected, uids, items)
    except (ImapFault, store_errors.StoreError) as error:
        log.info("arrivals_not_fetched", error=str(error))


def _telling(session: Session, command: c.Command, *, at_rest: bool = False) -> Telling:
    """`at_rest`: no command is under way."""
    enabled = session.enabled
    telling = Telling(
        expunges=not _keeps_numbers(command),
        with_uid=enabled.rev2 or (isinstance(command, c.Fetch | c.StoreFlags) and command.by_uid),
        with_modseq=enabled.condstore,
        vanished=enabled.qresync,
        recent=not enabled.rev2,
    )
    if session.listening is None:
        return telling
    group = session.listening.wanted.selected
    events = group.events if group is not None else frozenset()
    waits = at_rest and group is not None and group.mailboxes.kind == "SELECTED-DELAYED"
    removes = isinstance(command, c.Expunge | c.Replace) or (isinstance(command, c.Copy) and command.move)
    changes = "FLAGCHANGE" in events
    return replace(
        telling,
        expunges=telling.expunges and not waits and ("MESSAGEEXPUNGE" in events or removes),
        with_uid=telling.with_uid or changes,
        arrivals="MESSAGENEW" in events,
        changes=changes,
    )


def _keeps_numbers(command: c.Command) -> bool:
    """RFC 9051 §7.5.1, RFC 5256 §3: sequence numbers stay as they are during these, unless they are by uid."""
    match command:
        case c.Fetch(by_uid=by_uid) | c.StoreFlags(by_uid=by_uid):
            return not by_uid
        case c.Search(by_uid=by_uid, key=key) | c.Sort(by_uid=by_uid, key=key) | c.Thread(by_uid=by_uid, key=key):
            return not by_uid or has_sequence_numbers(key)
        case c.SearchMailboxes(key=key):
            return has_sequence_numbers(key)
    return False
