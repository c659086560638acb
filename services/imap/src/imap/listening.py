"""What a client that has said NOTIFY is told of mailboxes other than the selected one (RFC 5465 §5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final
from uuid import UUID

from mail_proto.imap import metadata, render
from mail_proto.imap.commands import ListMailboxes
from mail_proto.imap.enabled import Enabled
from mail_proto.imap.listing import Listed, Listing
from mail_proto.imap.notify_grammar import MESSAGE_EVENTS, Notify
from mail_runtime.contracts.store import Mailbox
from mail_runtime.contracts.subjects import NOBODY

_LISTED: Final = ListMailboxes("", ("*",), wanted=frozenset({"SUBSCRIBED"}))
# One of these, besides `l`: who may read annotations (RFC 5464 §3.3).
_USING: Final = frozenset("rswip")
# STATUS of a mailbox has HIGHESTMODSEQ where one of these is wanted (RFC 5465 §3.1).
_WITH_MODSEQ: Final = frozenset({"FLAGCHANGE", "ANNOTATIONCHANGE"})


class Listening:
    """What one client wants to hear, and the mailboxes as it knows them."""

    def __init__(self, wanted: Notify, mailboxes: Sequence[Mailbox], enabled: Enabled) -> None:
        self.wanted, self._enabled = wanted, enabled
        self._known = self._by_id(mailboxes)
        # Names that the client itself has made, given up or changed: it isn't told of these (§5).
        self.own_names: set[str] = set()

    @property
    def looks_elsewhere(self) -> bool:
        """Whether mailboxes of others may be among those that count."""
        return any(group.mailboxes.kind in {"SUBSCRIBED", "SUBTREE", "MAILBOXES"} for group in self.wanted.groups)

    @property
    def hears_others(self) -> bool:
        """Whether anything is wanted of mailboxes that aren't selected."""
        return any(group.events for group in self.wanted.groups if group is not self.wanted.selected)

    @property
    def owners(self) -> set[UUID]:
        """Others whose mailboxes are watched."""
        return {mailbox.owner_id for mailbox, _ in self.watched() if mailbox.owner_id is not None}

    def watched(self) -> Iterator[tuple[Mailbox, frozenset[str]]]:
        """Those of which events are wanted, and which."""
        for mailbox in self._known.values():
            if events := self._events(mailbox):
                yield mailbox, events

    def standing(self, selected_id: UUID | None) -> bytes:
        """What NOTIFY SET STATUS says at once, and which mailboxes may not be read (§3.1)."""
        pieces = []
        for mailbox, events in self.watched():
            if not events & MESSAGE_EVENTS or mailbox.id == selected_id:
                continue
            if "r" not in mailbox.rights:
                pieces.append(b'* LIST (\\NoAccess) "/" %b\r\n' % self._name(mailbox.name))
            elif self.wanted.status:
                items = ["MESSAGES", "UIDNEXT", "UIDVALIDITY"]
                knows_modseqs = self._knows_modseqs or not _WITH_MODSEQ.isdisjoint(events)
                pieces.append(self._status(mailbox, [*items, *(["HIGHESTMODSEQ"] if knows_modseqs else [])]))
        return b"".join(pieces)

    def news(self, mailboxes: Sequence[Mailbox], selected_id: UUID | None) -> list[bytes]:
        """What is to be told, now that the mailboxes are these."""
        before, self._known = self._known, self._by_id(mailboxes)
        told = [*self._named(before), *self._subscribed(before)]
        self.own_names.clear()
        for mailbox in self._known.values():
            was = before.get(mailbox.id)
            if was is not None and mailbox.id != selected_id and (items := self._changed(was, mailbox)):
                told.append(self._status(mailbox, items))
        return told

    def annotated(self, changes: Mapping[UUID, AbstractSet[str]]) -> Iterator[bytes]:
        """Annotations that changed, of mailboxes and the server, if that is wanted and may be known (§5.6, §5.7)."""
        for mailbox_id, entries in changes.items():
            if mailbox_id == NOBODY:
                if any("SERVERMETADATACHANGE" in group.events for group in self.wanted.groups):
                    yield metadata.changed(b'""', sorted(entries))
                continue
            mailbox = self._known.get(mailbox_id)
            if mailbox is None or not _USING & set(mailbox.rights):
                continue
            if "MAILBOXMETADATACHANGE" in self._events(mailbox):
                yield metadata.changed(self._name(mailbox.name), sorted(entries))

    @staticmethod
    def _by_id(mailboxes: Sequence[Mailbox]) -> dict[UUID, Mailbox]:
        return {mailbox.id: mailbox for mailbox in mailboxes if "l" in mailbox.rights}

    @property
    def _knows_modseqs(self) -> bool:
        return self._enabled.condstore

    def _name(self, name: str) -> bytes:
        return render.mailbox(name, is_utf8=self._enabled.utf8)

    def _events(self, mailbox: Mailbox) -> frozenset[str]:
        return self._events_of(mailbox.name, subscribed=mailbox.subscribed, personal=mailbox.owner_id is None)

    def _events_of(self, name: str, *, subscribed: bool, personal: bool) -> frozenset[str]:
        """Groups add up (§6)."""
        matching = (
            group.events
            for group in self.wanted.groups
            if group.mailboxes.matches(name, subscribed=subscribed, personal=personal)
        )
        return frozenset().union(*matching)

    def _changed(self, was: Mailbox, now: Mailbox) -> list[str]:
        """Items of a STATUS; empty: nothing happened that is wanted, or may be known (§5.1 to §5.3)."""
        events = self._events(now)
        if not events & MESSAGE_EVENTS or "r" not in now.rights:
            return []
        items: list[str] = []
        if now.uid_next != was.uid_next or now.messages != was.messages:
            items = ["UIDNEXT", "MESSAGES"]
        if "FLAGCHANGE" in events and now.unseen != was.unseen:
            items.append("UNSEEN")
        if now.uid_validity != was.uid_validity:
            items.append("UIDVALIDITY")
        if self._knows_modseqs and now.highest_modseq != was.highest_modseq and (items or "FLAGCHANGE" in events):
            items = [*(item for item in items if item != "UIDVALIDITY"), "HIGHESTMODSEQ", "UIDVALIDITY"]
        return items

    def _status(self, mailbox: Mailbox, items: Sequence[str]) -> bytes:
        values: Mapping[str, int] = {
            "MESSAGES": mailbox.messages,
            "UIDNEXT": mailbox.uid_next,
            "UIDVALIDITY": mailbox.uid_validity,
            "UNSEEN": mailbox.unseen,
            "HIGHESTMODSEQ": max(1, mailbox.highest_modseq),
        }
        shown = b" ".join(b"%b %d" % (item.encode("ascii"), values[item]) for item in items)
        return b"* STATUS %b (%b)\r\n" % (self._name(mailbox.name), shown)

    # LIST

    def _named(self, before: Mapping[UUID, Mailbox]) -> Iterator[bytes]:
        """Mailboxes that came, went, or have another name (§5.4): they and those right above them."""
        listing, now = self._listing(), {mailbox.name: mailbox for mailbox in self._known.values()}
        affected: dict[str, str] = {}
        for identifier in before.keys() | self._known.keys():
            old, new = before.get(identifier), self._known.get(identifier)
            if old is None or new is None:
                name = (old or new).name  # type: ignore[union-attr]
                affected |= {above: "" for above in (name.rpartition("/")[0], name) if above and above not in affected}
            elif old.name != new.name and not self._moved_along(old, new, before):
                affected[new.name] = old.name
        for name, old_name in sorted(affected.items()):
            mailbox = now.get(name)
            events = self._events_of(
                name,
                subscribed=mailbox is not None and mailbox.subscribed,
                personal=mailbox is None or mailbox.owner_id is None,
            )
            if "MAILBOXNAME" in events and name not in self.own_names:
                listed = Listed(name, False, None, exists=False) if mailbox is None else _listed(mailbox)
                yield listing.described(listed, old_name)

    def _moved_along(self, old: Mailbox, new: Mailbox, before: Mapping[UUID, Mailbox]) -> bool:
        """Whether it has another name because one above it has."""
        for other, was in before.items():
            now = self._known.get(other)
            if now is None or now.name == was.name or not old.name.startswith(was.name + "/"):
                continue
            if new.name == now.name + old.name[len(was.name) :]:
                return True
        return False

    def _subscribed(self, before: Mapping[UUID, Mailbox]) -> Iterator[bytes]:
        """§5.5."""
        listing = self._listing()
        for mailbox in self._known.values():
            was = before.get(mailbox.id)
            if was is None or was.subscribed == mailbox.subscribed or mailbox.name in self.own_names:
                continue
            if "SUBSCRIPTIONCHANGE" in self._events(mailbox) | self._events(was):
                yield listing.described(_listed(mailbox))

    def _listing(self) -> Listing:
        return Listing(_LISTED, [_listed(one) for one in self._known.values()], is_utf8=self._enabled.utf8)


def _listed(mailbox: Mailbox) -> Listed:
    return Listed(mailbox.name, mailbox.subscribed, mailbox.special_use)
