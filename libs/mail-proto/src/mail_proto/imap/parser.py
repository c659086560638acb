"""From the octets of a complete command to its value (RFC 9051 §9, command), and the arguments of session commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mail_proto.imap import commands as c
from mail_proto.imap import mailbox_grammar, message_grammar, metadata, rights
from mail_proto.imap.cursor import TAG, Cursor
from mail_proto.imap.errors import ImapFault, SyntaxFault
from mail_proto.imap.notify_grammar import parse_notify


class TaggedFault(Exception):
    """A command that can't be taken, with the tag to answer it by (`*` if there is none)."""

    def __init__(self, tag: bytes, fault: ImapFault) -> None:
        super().__init__(str(fault))
        self.tag, self.fault = tag, fault


# Short commands that clients send again and again are parsed once; none of them names a mailbox or holds a secret.
_known: Final[dict[bytes, c.Command]] = {}
KNOWN_COMMANDS: Final = 1_000
KNOWN_OCTETS: Final = 80


def parse_command(octets: bytes, *, is_utf8: bool = False) -> tuple[bytes, c.Command]:
    """(tag, command) of a complete command. `is_utf8`: names of mailboxes aren't in modified UTF-7.

    Raises TaggedFault.
    """
    tag, _, rest = octets.partition(b" ")
    known = _known.get(rest)
    if known is not None and TAG.fullmatch(tag):
        return tag, known
    tag, command = _parse(octets, is_utf8=is_utf8)
    if len(rest) <= KNOWN_OCTETS and isinstance(command, c.Simple | c.Fetch):
        if len(_known) >= KNOWN_COMMANDS:
            _known.clear()
        _known[rest] = command
    return tag, command


def _parse(octets: bytes, *, is_utf8: bool) -> tuple[bytes, c.Command]:
    cursor = Cursor(octets, is_utf8=is_utf8)
    tag = b"*"
    try:
        tag = cursor.tag()
        cursor.space()
        name = cursor.keyword()
        by_uid = name == "UID"
        if by_uid:
            cursor.space()
            name = cursor.keyword()
        command = _arguments(cursor, name, by_uid=by_uid)
        cursor.end()
    except ImapFault as fault:
        raise TaggedFault(tag, fault) from fault
    return tag, command


def _arguments(cursor: Cursor, name: str, *, by_uid: bool) -> c.Command:
    if by_uid and name not in message_grammar.COMMANDS:
        raise SyntaxFault("UID goes with FETCH, STORE, SEARCH, SORT, THREAD, COPY, MOVE, REPLACE and EXPUNGE")
    if name in c.SIMPLE:
        return c.Simple(name)
    if name == "EXPUNGE" and not by_uid:
        return c.Expunge()
    if name in message_grammar.COMMANDS:
        cursor.space()
        return message_grammar.COMMANDS[name](cursor, name, by_uid)
    parse = _COMMANDS.get(name)
    if parse is None:
        raise SyntaxFault("unknown command")
    cursor.space()
    return parse(cursor, name)


def _authenticate(cursor: Cursor, name: str) -> c.Command:
    mechanism = cursor.keyword()
    if not cursor.skip(b" "):
        return c.Authenticate(mechanism)
    initial = cursor.octets[cursor.at :]
    cursor.at = len(cursor.octets)
    return c.Authenticate(mechanism, initial)


def _login(cursor: Cursor, name: str) -> c.Command:
    user = cursor.text()
    cursor.space()
    return c.Login(user, cursor.text())


def _identify(cursor: Cursor, name: str) -> c.Command:
    if not cursor.skip(b"NIL"):
        cursor.parenthesised(lambda: cursor.skip(b"NIL") or cursor.string())
    return c.Identify()


def _enable(cursor: Cursor, name: str) -> c.Command:
    extensions = [cursor.keyword()]
    while cursor.skip(b" ") and not cursor.at_end:
        extensions.append(cursor.keyword())
    return c.Enable(tuple(extensions))


def _compress(cursor: Cursor, name: str) -> c.Command:
    return c.Compress(cursor.keyword())


def _cancel_update(cursor: Cursor, name: str) -> c.Command:
    """ "CANCELUPDATE" 1*(SP quoted)    (RFC 5267 §5)"""
    tags = [cursor.astring()]
    while cursor.skip(b" ") and not cursor.at_end:
        tags.append(cursor.astring())
    return c.CancelUpdate(tuple(tags))


_COMMANDS: Final[dict[str, Callable[[Cursor, str], c.Command]]] = {
    "CANCELUPDATE": _cancel_update,
    "NOTIFY": parse_notify,
    "AUTHENTICATE": _authenticate,
    "LOGIN": _login,
    "ID": _identify,
    "ENABLE": _enable,
    "COMPRESS": _compress,
    **mailbox_grammar.COMMANDS,
    **rights.COMMANDS,
    **metadata.COMMANDS,
}
