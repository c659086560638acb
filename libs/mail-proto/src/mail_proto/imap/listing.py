"""Which mailbox names LIST shows, and with which attributes (RFC 3501 §6.3.8, RFC 3348, RFC 6154)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from mail_proto.imap import render
from mail_proto.imap.commands import ListMailboxes


@dataclass(frozen=True, slots=True)
class Listed:
    """A mailbox as LIST knows it."""

    name: str
    subscribed: bool
    special_use: str | None


def respond(command: ListMailboxes, mailboxes: Sequence[Listed]) -> Iterator[bytes]:
    """The untagged responses, with CRLF."""
    word = b"LSUB" if command.is_lsub else b"LIST"
    if not command.is_lsub and "" in command.patterns:
        yield b'* LIST (\\Noselect) "/" ""\r\n'  # RFC 3501 §6.3.8: asks for the separator only
        return
    patterns = [_compiled(command.reference + pattern) for pattern in command.patterns]
    parents = {superior for mailbox in mailboxes for superior in _superiors(mailbox.name)}
    shown = [mailbox for mailbox in mailboxes if _selected(command, mailbox)]
    for mailbox in shown:
        if any(pattern.fullmatch(mailbox.name) for pattern in patterns):
            attributes = _attributes(command, mailbox, parents)
            yield b'* %b %b "/" %b\r\n' % (word, render.flags(attributes), render.mailbox(mailbox.name))
    if command.is_lsub:
        yield from _lsub_superiors(patterns, shown)


def _selected(command: ListMailboxes, mailbox: Listed) -> bool:
    if (command.is_lsub or "SUBSCRIBED" in command.select) and not mailbox.subscribed:
        return False
    return not ("SPECIAL-USE" in command.select and mailbox.special_use is None)


def _attributes(command: ListMailboxes, mailbox: Listed, parents: Collection[str]) -> list[str]:
    if command.is_lsub:
        return []
    attributes = ["\\HasChildren" if mailbox.name in parents else "\\HasNoChildren"]
    if mailbox.special_use is not None:
        attributes.append(mailbox.special_use)
    if mailbox.subscribed and ("SUBSCRIBED" in command.select or "SUBSCRIBED" in command.wanted):
        attributes.append("\\Subscribed")
    return attributes


def _lsub_superiors(patterns: Sequence[re.Pattern[str]], shown: Sequence[Listed]) -> Iterator[bytes]:
    """RFC 3501 §6.3.9: with `%`, a name whose inferiors only are subscribed is shown as \\Noselect."""
    names = {mailbox.name for mailbox in shown}
    superiors = {superior for name in names for superior in _superiors(name)}
    for name in sorted(superiors - names):
        inferior_matches = any(pattern.fullmatch(other) for pattern in patterns for other in names)
        if not inferior_matches and any(pattern.fullmatch(name) for pattern in patterns):
            yield b'* LSUB (\\Noselect) "/" %b\r\n' % render.mailbox(name)


def _superiors(name: str) -> Iterator[str]:
    return (name[:at] for at, character in enumerate(name) if character == "/")


def _compiled(pattern: str) -> re.Pattern[str]:
    """`*` matches anything, `%` anything but the separator; INBOX in any case."""
    head, separator, rest = pattern.partition("/")
    if head.upper() == "INBOX":
        pattern = "INBOX" + separator + rest
    # Neighbouring wildcards collapse: `*` swallows `%`, so that no pattern takes exponential time.
    pieces: list[str] = []
    for piece in re.findall(r"[*%]+|[^*%]+", pattern):
        if piece[0] in "*%":
            pieces.append(".*" if "*" in piece else "[^/]*")
        else:
            pieces.append(re.escape(piece))
    return re.compile("".join(pieces), re.DOTALL)
