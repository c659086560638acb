"""From a command to its module; news before the tagged reply and errors as replies, as all commands have them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from imap import contexts
from imap.commands import (
    acl,
    append,
    fetch,
    listing,
    mailboxes,
    messages,
    multisearch,
    quota,
    search,
    selecting,
    status,
    store,
)
from imap.metrics import COMMANDS
from imap.progress import LONG, reporting
from imap.session import Done, Selected, Session
from mail_proto.imap import commands as c
from mail_proto.imap.errors import ImapFault, Refused
from mail_proto.imap.search_keys import has_sequence_numbers
from mail_proto.imap.session import ServerSession
from mail_proto.imap.steps import Bye, Reply
from mail_proto.imap.view import Telling
from mail_runtime.contracts import errors as store_errors

log = structlog.get_logger()

# Before IDLE looks again after the store didn't answer.
RETRY_S: Final = 1.0

_CODES: Final[dict[type[store_errors.StoreError], str]] = {
    store_errors.Unavailable: "UNAVAILABLE",
    store_errors.NotFound: "NONEXISTENT",
    store_errors.NotPermitted: "NOPERM",
    store_errors.Conflict: "ALREADYEXISTS",
    store_errors.Refused: "CANNOT",
    store_errors.TooLarge: "TOOBIG",
    store_errors.OverQuota: "OVERQUOTA",
}

_COMMANDS: Final[dict[type[c.Command], Callable[[Session, Any], Awaitable[Done]]]] = {
    c.Simple: selecting.simple,
    c.Select: selecting.select,
    c.ListMailboxes: listing.list_mailboxes,
    c.Status: status.status,
    c.Quota: quota.quota,
    c.Acl: acl.on_rights,
    c.Create: mailboxes.create,
    c.OnMailbox: mailboxes.on_mailbox,
    c.Rename: mailboxes.rename,
    c.Append: append.append,
    c.Expunge: messages.expunge,
    c.StoreFlags: store.store_flags,
    c.Copy: messages.copy,
    c.Search: search.search,
    c.Sort: search.sort,
    c.Thread: search.thread,
    c.SearchMailboxes: multisearch.search_mailboxes,
    c.CancelUpdate: multisearch.cancel_update,
    c.Fetch: fetch.fetch,
}


class MailboxGone(Exception):
    """The selected mailbox was deleted, or may not be read any more: the session can't go on (RFC 2180 §3, RFC 4314
    §5.1.1).
    """


def refusal(error: store_errors.StoreError) -> Refused:
    """What the client is told when the store refuses (RFC 5530 §3)."""
    return Refused(str(error), _CODES.get(type(error), "UNAVAILABLE"))


async def run(protocol: ServerSession, session: Session, tag: bytes, command: c.Command) -> Reply | Bye:
    """Do a command; the reply that ends it. Raises MailboxGone, TimeoutError and OSError of the connection."""
    name = command.name if isinstance(command, c.Simple) else type(command).__name__.upper()
    session.tag = tag
    start = time.perf_counter()
    await _tell_highest(session, command)
    try:
        work = _COMMANDS[type(command)](session, command)
        done = await (reporting(session, work) if isinstance(command, LONG) else work)
        protocol.opened(is_open=session.selected is not None)
        await _tell_news(session, command)
    except ImapFault as fault:
        COMMANDS.labels(name, "refused").observe(time.perf_counter() - start)
        protocol.opened(is_open=session.selected is not None)
        await _tell_known_news(session, command)
        return protocol.failed(tag, fault)
    except store_errors.StoreError as error:
        outcome = "unavailable" if isinstance(error, store_errors.Unavailable) else "refused"
        COMMANDS.labels(name, outcome).observe(time.perf_counter() - start)
        protocol.opened(is_open=session.selected is not None)
        return protocol.failed(tag, refusal(error))
    COMMANDS.labels(name, "done").observe(time.perf_counter() - start)
    return Reply(protocol.done(tag, done.text, done.code))


async def _tell_highest(session: Session, command: c.Command) -> None:
    """Once the client shows that it knows modseqs, it must know the one to begin with (RFC 7162 §3.1.3, example 5)."""
    selected = session.selected
    if selected is None or selected.told_highest or not session.enabled.condstore or isinstance(command, c.Select):
        return
    selected.told_highest = True
    await session.send(b"* OK [HIGHESTMODSEQ %d] up to here\r\n" % max(1, selected.view.told_modseq))


async def _tell_news(session: Session, command: c.Command) -> None:
    """Before the tagged OK: what changed in the selected mailbox, as far as it may be said now."""
    if session.selected is None or isinstance(command, c.Select):
        return
    if session.watch.changed.is_set():
        try:
            await session.refresh()
        except (store_errors.NotFound, store_errors.NotPermitted) as error:
            raise MailboxGone("the mailbox is gone") from error
        except store_errors.Unavailable:
            session.watch.changed.set()  # nothing is lost: the next command tries again
    await _tell_known_news(session, command)


async def _tell_known_news(session: Session, command: c.Command) -> None:
    if session.selected is None:
        return
    await _tell(session, session.selected, _telling(session, command))


async def _tell(session: Session, selected: Selected, telling: Telling) -> None:
    """All that is known to be new, in the order that keeps numbers right (RFC 5267 §4.3)."""
    await session.send(selected.rights_news() + contexts.gone(selected) + selected.view.announce(telling))
    if selected.contexts:
        await session.send(await contexts.changed(session, selected))


def _telling(session: Session, command: c.Command) -> Telling:
    enabled = session.enabled
    return Telling(
        expunges=not _keeps_numbers(command),
        with_uid=enabled.rev2 or (isinstance(command, c.Fetch | c.StoreFlags) and command.by_uid),
        with_modseq=enabled.condstore,
        vanished=enabled.qresync,
        recent=not enabled.rev2,
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


async def push(session: Session) -> None:
    """In IDLE: look what changed, and tell it. Raises MailboxGone."""
    if session.selected is None:
        session.watch.changed.clear()
        return
    try:
        await session.refresh()
    except (store_errors.NotFound, store_errors.NotPermitted) as error:
        raise MailboxGone("the mailbox is gone") from error
    except store_errors.Unavailable as error:
        log.info("push_waits", error=str(error))
        await asyncio.sleep(RETRY_S)
        session.watch.changed.set()
        return
    await _tell(session, session.selected, _telling(session, c.Simple("IDLE")))
