"""Which mailbox names LIST shows, and with which attributes (RFC 3501 §6.3.8, RFC 3348, RFC 6154)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from mail_proto.imap import render
from mail_proto.imap.commands import ListMailboxes

# Neighbouring wildcards are one: `*` swallows `%`.
_PIECE: Final = re.compile(r"[*%]+|[^*%]+")


@dataclass(frozen=True, slots=True)
class Listed:
    """A mailbox as LIST knows it; one that doesn't exist is only a name that is subscribed."""

    name: str
    subscribed: bool
    special_use: str | None
    exists: bool = True


def respond(command: ListMailboxes, mailboxes: Sequence[Listed]) -> Iterator[bytes]:
    """The untagged responses, with CRLF."""
    word = b"LSUB" if command.is_lsub else b"LIST"
    if not command.is_lsub and "" in command.patterns:
        yield b'* LIST (\\Noselect) "/" ""\r\n'  # RFC 3501 §6.3.8: asks for the separator only
        return
    patterns = [Pattern(command.reference + pattern) for pattern in command.patterns]
    parents = {superior for mailbox in mailboxes if mailbox.exists for superior in _superiors(mailbox.name)}
    shown = [mailbox for mailbox in mailboxes if _selected(command, mailbox)]
    for mailbox in shown:
        if any(pattern.matches(mailbox.name) for pattern in patterns):
            attributes = _attributes(command, mailbox, parents)
            yield b'* %b %b "/" %b\r\n' % (word, render.flags(attributes), render.mailbox(mailbox.name))
    if command.is_lsub:
        yield from _lsub_superiors(patterns, shown)
    elif not command.select:
        yield from _names_without_mailbox(patterns, sorted(parents - {mailbox.name for mailbox in mailboxes}))


def _names_without_mailbox(patterns: Sequence[Pattern], names: Sequence[str]) -> Iterator[bytes]:
    """A mailbox that was deleted leaves its inferiors, and so its name (RFC 9051 §6.3.5, §7.3.1)."""
    for name in names:
        if any(pattern.matches(name) for pattern in patterns):
            yield b'* LIST (\\NonExistent \\Noselect \\HasChildren) "/" %b\r\n' % render.mailbox(name)


def _selected(command: ListMailboxes, mailbox: Listed) -> bool:
    if not mailbox.exists and not (command.is_lsub or "SUBSCRIBED" in command.select):
        return False
    if (command.is_lsub or "SUBSCRIBED" in command.select) and not mailbox.subscribed:
        return False
    return not ("SPECIAL-USE" in command.select and mailbox.special_use is None)


def _attributes(command: ListMailboxes, mailbox: Listed, parents: Collection[str]) -> list[str]:
    if command.is_lsub:
        return [] if mailbox.exists else ["\\Noselect"]
    attributes = [] if mailbox.exists else ["\\NonExistent"]
    attributes += ["\\HasChildren" if mailbox.name in parents else "\\HasNoChildren"]
    if mailbox.special_use is not None:
        attributes.append(mailbox.special_use)
    if mailbox.subscribed and ("SUBSCRIBED" in command.select or "SUBSCRIBED" in command.wanted):
        attributes.append("\\Subscribed")
    return attributes


def _lsub_superiors(patterns: Sequence[Pattern], shown: Sequence[Listed]) -> Iterator[bytes]:
    """RFC 3501 §6.3.9: with `%`, a name whose inferiors only are subscribed is shown as \\Noselect."""
    names = {mailbox.name for mailbox in shown}
    superiors = {superior for name in names for superior in _superiors(name)}
    for name in sorted(superiors - names):
        inferiors = [other for other in names if other.startswith(name + "/")]
        shown_already = any(pattern.matches(inferior) for pattern in patterns for inferior in inferiors)
        if not shown_already and any(pattern.matches(name) for pattern in patterns):
            yield b'* LSUB (\\Noselect) "/" %b\r\n' % render.mailbox(name)


def _superiors(name: str) -> Iterator[str]:
    return (name[:at] for at, character in enumerate(name) if character == "/")


class Pattern:
    """`*` matches anything, `%` anything but the separator; INBOX in any case (RFC 3501 §6.3.8).

    Not a regular expression: `%a%a%a…` would take one for ever.
    """

    def __init__(self, pattern: str) -> None:
        head, separator, rest = pattern.partition("/")
        if head.upper() == "INBOX":
            pattern = "INBOX" + separator + rest
        self._pieces: list[str] = _PIECE.findall(pattern)

    def matches(self, name: str) -> bool:
        """Whether the whole name matches; time grows with the name's length squared at most."""
        reached = {0}
        for piece in self._pieces:
            if "*" in piece:
                reached = set(range(min(reached), len(name) + 1))
            elif piece[0] == "%":
                reached = {end for start in _run_starts(name, reached) for end in _run(name, start)}
            else:
                reached = {at + len(piece) for at in reached if name.startswith(piece, at)}
            if not reached:
                return False
        return len(name) in reached


def _run_starts(name: str, reached: Collection[int]) -> Iterator[int]:
    """The first position reached on each level: `%` from there covers those behind it."""
    level_end = -1
    for at in sorted(reached):
        if at > level_end:
            yield at
            end = name.find("/", at)
            level_end = len(name) if end < 0 else end


def _run(name: str, start: int) -> range:
    end = name.find("/", start)
    return range(start, (len(name) if end < 0 else end) + 1)
