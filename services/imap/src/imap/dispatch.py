"""From a command to its module; errors as replies, as all commands have them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from imap import news
from imap.commands import (
    acl,
    append,
    fetch,
    listing,
    mailboxes,
    messages,
    metadata,
    multisearch,
    notify,
    quota,
    search,
    selecting,
    status,
    store,
)
from imap.metrics import observe
from imap.progress import LONG, reporting
from imap.session import Done, Selected, Session
from mail_proto.imap import commands as c
from mail_proto.imap.errors import ImapFault, Refused
from mail_proto.imap.notify_grammar import Notify
from mail_proto.imap.session import ServerSession
from mail_proto.imap.steps import Bye, Reply
from mail_runtime.contracts import errors as store_errors

log = structlog.get_logger()

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
    c.GetMetadata: metadata.get,
    c.SetMetadata: metadata.set_values,
    c.Create: mailboxes.create,
    c.OnMailbox: mailboxes.on_mailbox,
    c.Rename: mailboxes.rename,
    c.Append: append.append,
    c.Replace: append.replace,
    c.Expunge: messages.expunge,
    c.StoreFlags: store.store_flags,
    c.Copy: messages.copy,
    c.Search: search.search,
    c.Sort: search.sort,
    c.Thread: search.thread,
    c.SearchMailboxes: multisearch.search_mailboxes,
    c.CancelUpdate: multisearch.cancel_update,
    Notify: notify.notify,
    c.Fetch: fetch.fetch,
}


def refusal(error: store_errors.StoreError) -> Refused:
    """What the client is told when the store refuses (RFC 5530 §3)."""
    return Refused(str(error), _CODES.get(type(error), "UNAVAILABLE"))


async def run(protocol: ServerSession, session: Session, tag: bytes, command: c.Command) -> Reply | Bye:
    """Do a command; the reply that ends it. Raises MailboxGone, TimeoutError and OSError of the connection."""
    name = command.name if isinstance(command, c.Simple) else type(command).__name__.upper()
    session.begin(tag)
    start = time.perf_counter()
    if session.selected is not None and not session.selected.told_highest and session.enabled.condstore:
        await _tell_highest(session, session.selected, command)
    try:
        work = _COMMANDS[type(command)](session, command)
        done = await (reporting(session, work) if type(command) in LONG else work)
        protocol.opened(is_open=session.selected is not None)
        if not news.are_none(session):
            await news.tell_news(session, command)
    except ImapFault as fault:
        observe(name, "refused", time.perf_counter() - start)
        protocol.opened(is_open=session.selected is not None)
        await news.tell_known_news(session, command)
        return protocol.failed(tag, fault)
    except store_errors.StoreError as error:
        outcome = "unavailable" if isinstance(error, store_errors.Unavailable) else "refused"
        observe(name, outcome, time.perf_counter() - start)
        protocol.opened(is_open=session.selected is not None)
        return protocol.failed(tag, refusal(error))
    observe(name, "done", time.perf_counter() - start)
    return Reply(protocol.done(tag, done.text, done.code))


async def _tell_highest(session: Session, selected: Selected, command: c.Command) -> None:
    """Once the client shows that it knows modseqs, it must know the one to begin with (RFC 7162 §3.1.3, example 5)."""
    if isinstance(command, c.Select):
        return
    selected.told_highest = True
    await session.send(b"* OK [HIGHESTMODSEQ %d] up to here\r\n" % max(1, selected.view.told_modseq))
