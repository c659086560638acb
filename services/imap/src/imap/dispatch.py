"""From a command to its module; news before the tagged reply and errors as replies, as all commands have them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from imap.commands import fetch, listing, mailboxes, messages, quota, search, selecting, status
from imap.metrics import COMMANDS
from imap.session import Done, Session
from mail_proto.imap import commands as c
from mail_proto.imap.errors import ImapFault, Refused
from mail_proto.imap.session import ServerSession
from mail_proto.imap.steps import Bye, Reply
from mail_runtime.contracts import errors as store_errors

log = structlog.get_logger()

# Before IDLE looks again after the store didn't answer.
RETRY_S: Final = 1.0

_CODES: Final[dict[type[store_errors.StoreError], str]] = {
    store_errors.Unavailable: "UNAVAILABLE",
    store_errors.NotFound: "NONEXISTENT",
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
    c.Create: mailboxes.create,
    c.OnMailbox: mailboxes.on_mailbox,
    c.Rename: mailboxes.rename,
    c.Append: messages.append,
    c.Expunge: messages.expunge,
    c.StoreFlags: messages.store_flags,
    c.Copy: messages.copy,
    c.Search: search.search,
    c.Sort: search.sort,
    c.Thread: search.thread,
    c.Fetch: fetch.fetch,
}
# RFC 3501 §7.4.1, RFC 5256 §3: sequence numbers stay as they are during these, unless they are by uid.
_BY_NUMBER: Final = c.Fetch | c.StoreFlags | c.Search | c.Sort | c.Thread


class MailboxGone(Exception):
    """The selected mailbox was deleted: the session can't go on (RFC 2180 §3)."""


def refusal(error: store_errors.StoreError) -> Refused:
    """What the client is told when the store refuses (RFC 5530 §3)."""
    return Refused(str(error), _CODES.get(type(error), "UNAVAILABLE"))


async def run(protocol: ServerSession, session: Session, tag: bytes, command: c.Command) -> Reply | Bye:
    """Do a command; the reply that ends it. Raises MailboxGone, TimeoutError and OSError of the connection."""
    name = command.name if isinstance(command, c.Simple) else type(command).__name__.upper()
    session.tag = tag
    try:
        done = await _COMMANDS[type(command)](session, command)
        protocol.opened(is_open=session.selected is not None)
        await _tell_news(session, command)
    except ImapFault as fault:
        COMMANDS.labels(name, "refused").inc()
        protocol.opened(is_open=session.selected is not None)
        await _tell_known_news(session, command)
        return protocol.failed(tag, fault)
    except store_errors.StoreError as error:
        COMMANDS.labels(name, "unavailable" if isinstance(error, store_errors.Unavailable) else "refused").inc()
        protocol.opened(is_open=session.selected is not None)
        return protocol.failed(tag, refusal(error))
    COMMANDS.labels(name, "done").inc()
    return Reply(protocol.done(tag, done.text, done.code))


async def _tell_news(session: Session, command: c.Command) -> None:
    """Before the tagged OK: what changed in the selected mailbox, as far as it may be said now."""
    if session.selected is None or isinstance(command, c.Select):
        return
    if session.watch.changed.is_set():
        try:
            await session.refresh()
        except store_errors.NotFound as error:
            raise MailboxGone("the mailbox was deleted") from error
        except store_errors.Unavailable:
            session.watch.changed.set()  # nothing is lost: the next command tries again
    await _tell_known_news(session, command)


async def _tell_known_news(session: Session, command: c.Command) -> None:
    if session.selected is None:
        return
    numbered = isinstance(command, _BY_NUMBER) and not command.by_uid
    rev2 = session.enabled.rev2
    with_uid = rev2 or (isinstance(command, c.Fetch | c.StoreFlags) and command.by_uid)
    await session.send(session.selected.view.announce(expunges=not numbered, with_uid=with_uid, recent=not rev2))


async def push(session: Session) -> None:
    """In IDLE: look what changed, and tell it. Raises MailboxGone."""
    if session.selected is None:
        session.watch.changed.clear()
        return
    try:
        await session.refresh()
    except store_errors.NotFound as error:
        raise MailboxGone("the mailbox was deleted") from error
    except store_errors.Unavailable as error:
        log.info("push_waits", error=str(error))
        await asyncio.sleep(RETRY_S)
        session.watch.changed.set()
        return
    rev2 = session.enabled.rev2
    await session.send(session.selected.view.announce(expunges=True, with_uid=rev2, recent=not rev2))
