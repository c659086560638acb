"""Reading the tokens of a command (RFC 3501 §9)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeVar

from mail_proto.imap import sequence, utf7
from mail_proto.imap.errors import SyntaxFault
from mail_proto.imap.sequence import SequenceSet

T = TypeVar("T")

MAX_MODSEQ: Final = 2**63 - 1
# No mailbox has it: names have no controls.
NO_NAME: Final = "\0"

# ATOM-CHAR = any CHAR but ( ) { SP CTL % * " \ ]      astring-char = ATOM-CHAR / "]"
_ATOM: Final = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\\]]+')
_ASTRING: Final = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\]+')
# list-char = ATOM-CHAR / "%" / "*" / "]"; 8-bit names are read as UTF-8.
_LIST_MAILBOX: Final = re.compile(rb'[^\x00-\x20\x7f(){"\\]+')
TAG: Final = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\+]+')
_QUOTED: Final = re.compile(rb'"((?:[^"\\\r\n\x00]|\\["\\])*)"')
_ESCAPE: Final = re.compile(rb'\\(["\\])')
_LITERAL: Final = re.compile(rb"\{([0-9]{1,12})\+?\}\r\n")
_NUMBER: Final = re.compile(rb"[0-9]{1,20}")
_SET: Final = re.compile(rb"[0-9*:,]+|\$")
_FLAG: Final = re.compile(rb'\\?[^\x00-\x20\x7f-\xff(){%*"\\\]]+')


class Cursor:
    """A position in a command. Every method raises SyntaxFault where something else stands.

    `is_utf8`: names of mailboxes are UTF-8, not modified UTF-7.
    """

    def __init__(self, octets: bytes, at: int = 0, *, is_utf8: bool = False) -> None:
        self.octets, self.at, self.is_utf8 = octets, at, is_utf8

    @property
    def at_end(self) -> bool:
        return self.at >= len(self.octets)

    def end(self) -> None:
        """Nothing may follow; trailing spaces are passed over (Outlook)."""
        if self.octets[self.at :].strip(b" "):
            raise SyntaxFault("something stands behind the command")

    def looking_at(self, octets: bytes) -> bool:
        """Whether these octets come next, letters in any case."""
        return self.octets[self.at : self.at + len(octets)].upper() == octets

    def skip(self, octets: bytes) -> bool:
        """Pass over these octets if they come next."""
        if self.looking_at(octets):
            self.at += len(octets)
            return True
        return False

    def expect(self, octets: bytes) -> None:
        if not self.skip(octets):
            raise SyntaxFault(f"expected {octets.decode('ascii')!r} at octet {self.at}")

    def space(self) -> None:
        self.expect(b" ")

    def _match(self, pattern: re.Pattern[bytes], what: str) -> re.Match[bytes]:
        found = pattern.match(self.octets, self.at)
        if found is None:
            raise SyntaxFault(f"expected {what} at octet {self.at}")
        self.at = found.end()
        return found

    def tag(self) -> bytes:
        return self._match(TAG, "a tag")[0]

    def atom(self) -> bytes:
        return self._match(_ATOM, "an atom")[0]

    def keyword(self) -> str:
        """An atom in upper case."""
        return self.atom().decode("ascii").upper()

    def number(self) -> int:
        return int(self._match(_NUMBER, "a number")[0])

    def modseq(self) -> int:
        """mod-sequence-value: 63 bits (RFC 7162 §3.1)."""
        number = self.number()
        if number > MAX_MODSEQ:
            raise SyntaxFault("a modseq has 63 bits")
        return number

    def string(self) -> bytes:
        """quoted or literal."""
        if self.looking_at(b'"'):
            quoted = self._match(_QUOTED, "a quoted string")[1]
            return _ESCAPE.sub(rb"\1", quoted)
        return self.literal()

    def literal(self) -> bytes:
        size = int(self._match(_LITERAL, "a string")[1])
        octets = self.octets[self.at : self.at + size]
        if len(octets) < size:
            raise SyntaxFault("the literal ends too early")
        self.at += size
        return octets

    def astring(self) -> bytes:
        if self.looking_at(b'"') or self.looking_at(b"{"):
            return self.string()
        return self._match(_ASTRING, "a string")[0]

    def text(self) -> str:
        """An astring in UTF-8: names, passwords."""
        try:
            return self.astring().decode("utf-8")
        except UnicodeDecodeError as error:
            raise SyntaxFault("the text isn't UTF-8") from error

    def mailbox(self) -> str:
        """A mailbox name; INBOX in any case is INBOX."""
        return _mailbox_name(self.astring(), is_utf8=self.is_utf8)

    def list_mailbox(self) -> str:
        """A pattern of LIST."""
        if self.looking_at(b'"') or self.looking_at(b"{"):
            return _mailbox_name(self.string(), is_utf8=self.is_utf8)
        return _mailbox_name(self._match(_LIST_MAILBOX, "a mailbox pattern")[0], is_utf8=self.is_utf8)

    def sequence_set(self) -> SequenceSet:
        try:
            return sequence.parse(self._match(_SET, "a sequence set")[0])
        except ValueError as error:
            raise SyntaxFault(str(error)) from error

    def flag(self) -> str:
        return self._match(_FLAG, "a flag")[0].decode("ascii")

    def parenthesised(self, item: Callable[[], T]) -> list[T]:
        """`(` [item *(SP item)] `)`."""
        self.expect(b"(")
        items: list[T] = []
        while not self.skip(b")"):
            if items:
                self.space()
            items.append(item())
        return items


def _mailbox_name(octets: bytes, *, is_utf8: bool) -> str:
    """What is no UTF-8 or modified UTF-7 names no mailbox: commands then say so, as for any that isn't there."""
    try:
        name = octets.decode("utf-8") if is_utf8 else utf7.decode(octets)
    except ValueError:
        return NO_NAME
    head, separator, rest = name.partition("/")
    return "INBOX" + separator + rest if head.upper() == "INBOX" else name
