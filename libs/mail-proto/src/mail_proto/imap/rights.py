"""Rights on mailboxes as letters (RFC 4314 §2.1), and their commands and responses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Literal

from mail_proto.imap import commands as c
from mail_proto.imap import render
from mail_proto.imap.cursor import Cursor
from mail_proto.imap.errors import SyntaxFault
from mail_proto.sasl.errors import SaslFault
from mail_proto.sasl.prep import saslprep

RIGHTS: Final = "lrswipkxtea"
# RFC 4314 §2.1.1: what clients of RFC 2086 say, and what of it is told them.
OBSOLETE: Final = {"c": "kx", "d": "te"}
# Any of them makes a mailbox one that can be written (RFC 4314 §5.2); all flags are shared.
WRITING: Final = frozenset("iestw")


def right_for(flag: str) -> str:
    """What changing the flag takes (RFC 4314 §4, STORE)."""
    return {"\\seen": "s", "\\deleted": "t"}.get(flag.lower(), "w")


def told(rights: str) -> str:
    """As rights are told: with `c` and `d` where any of their members is there."""
    shown = [letter for letter in RIGHTS if letter in rights]
    virtual = [old for old, members in OBSOLETE.items() if not set(members).isdisjoint(rights)]
    at = len(shown) - (shown[-1:] == ["a"])
    return "".join([*shown[:at], *virtual, *shown[at:]])


def _parsed_rights(letters: str) -> str:
    """Raises SyntaxFault: "an unrecognized right MUST cause the command to return the BAD response" (§3.1)."""
    expanded = "".join(OBSOLETE.get(letter, letter) for letter in letters)
    if unknown := set(expanded) - set(RIGHTS):
        raise SyntaxFault(f"there is no right {min(unknown)}")
    return "".join(letter for letter in RIGHTS if letter in expanded)


def _acl(cursor: Cursor, name: str) -> c.Command:
    """getacl = "GETACL" SP mailbox    setacl = "SETACL" SP mailbox SP identifier SP mod-rights    (RFC 4314 §7)"""
    mailbox = cursor.mailbox()
    if name in {"GETACL", "MYRIGHTS"}:
        return c.Acl(name, mailbox)
    cursor.space()
    identifier = _identifier(cursor.text())
    if name != "SETACL":
        return c.Acl(name, mailbox, identifier)
    cursor.space()
    rights = cursor.text()
    how: Literal["replace", "add", "remove"] = "replace"
    if rights[:1] in {"+", "-"}:
        how, rights = ("add" if rights[0] == "+" else "remove"), rights[1:]
    return c.Acl(name, mailbox, identifier, _parsed_rights(rights), how)


def _identifier(text: str) -> str:
    """Prepared (RFC 4314 §3). Raises SyntaxFault: it can't be, or nothing is left."""
    sign = "-" if text.startswith("-") else ""
    try:
        prepared = saslprep(text.removeprefix("-"))
    except SaslFault as fault:
        raise SyntaxFault(f"the identifier can't be prepared: {fault}") from fault
    if not prepared:
        raise SyntaxFault("the identifier is empty")
    return sign + prepared


def acl(mailbox: bytes, entries: Iterable[tuple[str, str]]) -> bytes:
    """`* ACL`; the mailbox as it is rendered, and (identifier, rights) of each entry."""
    pairs = [b" %b %b" % (render.astring(who.encode()), told(rights).encode("ascii")) for who, rights in entries]
    return b"* ACL " + mailbox + b"".join(pairs) + b"\r\n"


def my_rights(mailbox: bytes, rights: str) -> bytes:
    """`* MYRIGHTS`."""
    return b"* MYRIGHTS " + mailbox + b" " + render.astring(told(rights).encode("ascii")) + b"\r\n"


def list_rights(mailbox: bytes, identifier: str, required: str, optional: str) -> bytes:
    """`* LISTRIGHTS`; no right is tied to another."""
    groups = [told(required), *told(optional)]
    shown = b" ".join(b'""' if not group else group.encode("ascii") for group in groups)
    return b"* LISTRIGHTS " + mailbox + b" " + render.astring(identifier.encode()) + b" " + shown + b"\r\n"


COMMANDS: Final[dict[str, Callable[[Cursor, str], c.Command]]] = dict.fromkeys(
    ("GETACL", "SETACL", "DELETEACL", "LISTRIGHTS", "MYRIGHTS"), _acl
)
