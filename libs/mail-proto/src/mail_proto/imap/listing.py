"""Which mailbox names LIST shows, and with which attributes (RFC 9051 §6.3.9, RFC 3501 §6.3.9 for LSUB, RFC 6154)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from mail_proto.imap import render
from mail_proto.imap.commands import ListMailboxes
from mail_proto.imap.patterns import Pattern


@dataclass(frozen=True, slots=True)
class Listed:
    """A mailbox as LIST knows it; one that doesn't exist is only a name that is subscribed, or has inferiors."""

    name: str
    subscribed: bool
    special_use: str | None
    exists: bool = True


class Listing:
    """The answer to one LIST or LSUB over all mailboxes of an account, in their order."""

    def __init__(self, command: ListMailboxes, mailboxes: Sequence[Listed], *, is_utf8: bool = False) -> None:
        self._command, self._mailboxes, self._is_utf8 = command, mailboxes, is_utf8
        self._patterns = [Pattern(command.reference + pattern) for pattern in command.patterns]

    @property
    def _of_missing(self) -> tuple[str, ...]:
        """\\NonExistent implies \\Noselect (RFC 9051 §6.3.9.4), which who asks as RFC 3501 has it may not know."""
        command = self._command
        is_extended = command.select or command.wanted or command.status or len(command.patterns) > 1
        return ("\\NonExistent",) if is_extended else ("\\NonExistent", "\\Noselect")

    @cached_property
    def _parents(self) -> set[str]:
        """Names that have a mailbox below them."""
        return {above for mailbox in self._mailboxes if mailbox.exists for above in superiors(mailbox.name)}

    def responses(self) -> Iterator[tuple[Listed, bytes]]:
        """What is shown, each with its untagged response."""
        shown = [mailbox for mailbox in self._mailboxes if self.is_selected(mailbox)]
        chosen = {mailbox.name for mailbox in shown}
        if self._command.is_lsub:
            for mailbox in filter(self._matches, [*shown, *self._lsub_superiors(shown)]):
                attributes = [] if mailbox.exists else ["\\Noselect"]
                yield mailbox, self._response(b"LSUB", mailbox.name, attributes)
            return
        holding = self._holding_selected(chosen)
        names = [*self._mailboxes, *self._missing_superiors()]
        if not self._command.select:
            names = [mailbox for mailbox in names if mailbox.exists or mailbox.name in self._parents]
        else:
            names = [mailbox for mailbox in names if mailbox.name in chosen or mailbox.name in holding]
        for mailbox in filter(self._matches, names):
            attributes = self._attributes(mailbox)
            yield mailbox, self._response(b"LIST", mailbox.name, attributes, childinfo=mailbox.name in holding)

    def described(self, mailbox: Listed, old_name: str = "") -> bytes:
        """The response for one, whatever was asked for. `old_name`: what it was called before (RFC 5465 §5.4)."""
        response = self._response(b"LIST", mailbox.name, self._attributes(mailbox))
        if not old_name:
            return response
        old = render.mailbox(old_name, is_utf8=self._is_utf8)
        return response.removesuffix(b"\r\n") + b' ("OLDNAME" (%b))\r\n' % old

    def _matches(self, mailbox: Listed) -> bool:
        return any(pattern.matches(mailbox.name) for pattern in self._patterns)

    def is_selected(self, mailbox: Listed) -> bool:
        """Whether it meets the selection options itself, rather than by its inferiors."""
        select = self._command.select
        wants_subscribed = self._command.is_lsub or "SUBSCRIBED" in select
        if wants_subscribed and not mailbox.subscribed:
            return False
        if not mailbox.exists and not wants_subscribed:
            return False
        return not ("SPECIAL-USE" in select and mailbox.special_use is None)

    def _missing_superiors(self) -> list[Listed]:
        """A mailbox that was deleted leaves its inferiors, and so its name (RFC 9051 §6.3.5, §7.3.1)."""
        names = {above for mailbox in self._mailboxes for above in superiors(mailbox.name)}
        if not self._command.select:
            names &= self._parents
        return [Listed(name, False, None, exists=False) for name in sorted(names - {m.name for m in self._mailboxes})]

    def _holding_selected(self, chosen: Iterable[str]) -> set[str]:
        """RECURSIVEMATCH: names above what is selected (RFC 9051 §6.3.9.6).

        One that isn't selected itself is left out where all that it stands for is shown anyway.
        """
        if "RECURSIVEMATCH" not in self._command.select:
            return set()
        chosen = set(chosen)
        holding = {above for name in chosen for above in superiors(name)}
        hidden = {
            above
            for name in chosen
            if not any(pattern.matches(name) for pattern in self._patterns)
            for above in superiors(name)
        }
        return {name for name in holding if name in chosen or name in hidden}

    def _attributes(self, mailbox: Listed) -> list[str]:
        attributes = [] if mailbox.exists else list(self._of_missing)
        attributes.append("\\HasChildren" if mailbox.name in self._parents else "\\HasNoChildren")
        if mailbox.special_use is not None:
            attributes.append(mailbox.special_use)
        if mailbox.subscribed and "SUBSCRIBED" in self._command.select | self._command.wanted:
            attributes.append("\\Subscribed")
        return attributes

    def _response(self, word: bytes, name: str, attributes: list[str], *, childinfo: bool = False) -> bytes:
        shown = render.mailbox(name, is_utf8=self._is_utf8)
        items = b""
        if childinfo:
            criteria = sorted(self._command.select & {"SUBSCRIBED", "SPECIAL-USE"})
            items = b' ("CHILDINFO" (%b))' % b" ".join(b'"%b"' % name.encode("ascii") for name in criteria)
        return b'* %b %b "/" %b%b\r\n' % (word, render.flags(attributes), shown, items)

    def _lsub_superiors(self, shown: Sequence[Listed]) -> list[Listed]:
        """RFC 3501 §6.3.9: with `%`, a name whose inferiors only are subscribed is shown as \\Noselect."""
        names = {mailbox.name for mailbox in shown}
        found = []
        for name in sorted({above for each in names for above in superiors(each)} - names):
            inferiors = [other for other in names if other.startswith(name + "/")]
            if not any(pattern.matches(inferior) for pattern in self._patterns for inferior in inferiors):
                found.append(Listed(name, False, None, exists=False))
        return found


def separator(command: ListMailboxes) -> bytes | None:
    """The answer to a LIST that only asks for the separator (RFC 3501 §6.3.8); None: it is another one."""
    return b'* LIST (\\Noselect) "/" ""\r\n' if command.patterns == ("",) and not command.is_lsub else None


def superiors(name: str) -> Iterator[str]:
    return (name[:at] for at, character in enumerate(name) if character == "/")
