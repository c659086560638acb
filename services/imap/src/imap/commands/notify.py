"""NOTIFY (RFC 5465): what a client hears, and of whom, without asking."""

from __future__ import annotations

from typing import Final

from imap.listening import Listening
from imap.session import Done, Session
from mail_proto.imap.errors import Refused
from mail_proto.imap.notify_grammar import Notify

# Ours: entries that changed since the client was told last; more would be names without end.
MAX_ANNOTATED: Final = 1_000


async def notify(session: Session, command: Notify) -> Done:
    """Replaces what was asked for before; news of the selected mailbox follow (§3.1)."""
    watch = session.watch
    listening = Listening(command, (), session.enabled)
    watch.annotated.clear()
    watch.own_annotations.clear()
    # Heard before it is read: no change can fall between the two.
    watch.hears_all = listening.hears_others
    if listening.hears_others:
        mailboxes = await session.store.mailboxes(session.account_id, elsewhere=listening.looks_elsewhere)
        listening = Listening(command, mailboxes, session.enabled)
        if sum(1 for _ in listening.watched()) > session.shared.settings.notify_max_mailboxes:
            watch.hears_all = session.listening is not None and session.listening.hears_others
            raise Refused("these are too many mailboxes", "NOTIFICATIONOVERFLOW")
    await session.shared.watches.listen(watch, listening.owners)
    session.listening = listening
    selected = session.selected
    await session.send(listening.standing(selected.mailbox.id if selected is not None else None))
    watch.changed.set()
    return Done("you will hear" if command.groups else "you won't hear anything")


async def tell_others(session: Session) -> None:
    """What happened in other mailboxes, if that is wanted. Raises StoreError."""
    listening, watch = session.listening, session.watch
    if listening is None or not listening.hears_others:
        return
    watch.others_changed = False
    mailboxes = await session.store.mailboxes(session.account_id, elsewhere=listening.looks_elsewhere)
    told = listening.news(mailboxes, session.selected.mailbox.id if session.selected is not None else None)
    annotated, watch.annotated = watch.annotated, {}
    too_much = sum(map(len, annotated.values())) > MAX_ANNOTATED
    told += listening.annotated(annotated)
    if too_much or sum(1 for _ in listening.watched()) > session.shared.settings.notify_max_mailboxes:
        # §5.8: as after NOTIFY NONE.
        watch.hears_all = False
        session.listening = Listening(Notify(), (), session.enabled)
        told = [b"* OK [NOTIFICATIONOVERFLOW] this is too much to tell\r\n"]
    if session.listening is not None:
        await session.shared.watches.listen(watch, session.listening.owners)
    await session.send(b"".join(told))
