"""POP3 command grammar: one complete line of bytes in, one immutable command out.

Sources: RFC 1939 §9 (command summary) and §3 (line format), RFC 2449 §5 (CAPA), RFC 2595 §4 (STLS),
RFC 5034 §4 (AUTH), RFC 6856 §2.1 (UTF8) and §3 (LANG). APOP is not offered: it needs passwords kept in clear.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mail_proto.pop3.errors import SyntaxFault

# RFC 1939 §3: "message numbers ... are expressed in base-10".
_MESSAGE_NUMBER: Final = re.compile(rb"[1-9][0-9]{0,9}")
_LINES: Final = re.compile(rb"[0-9]{1,10}")
_MECHANISM: Final = re.compile(rb"[A-Za-z0-9_-]{1,20}")
# language-range = (1*8ALPHA *("-" 1*8alphanum)) / "*" (RFC 4647 §2.1)
_LANGUAGE: Final = re.compile(rb"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8}){0,8}|\*")


@dataclass(frozen=True, slots=True)
class Command:
    """Base of every parsed POP3 command."""


@dataclass(frozen=True, slots=True)
class Quit(Command):
    """`QUIT` — RFC 1939 §5 and §6."""


@dataclass(frozen=True, slots=True)
class Stat(Command):
    """`STAT` — RFC 1939 §5."""


@dataclass(frozen=True, slots=True)
class List(Command):
    """`LIST [msg]` — RFC 1939 §5; `msg` counts from 1."""

    msg: int | None = None


@dataclass(frozen=True, slots=True)
class Retr(Command):
    """`RETR msg` — RFC 1939 §5."""

    msg: int


@dataclass(frozen=True, slots=True)
class Dele(Command):
    """`DELE msg` — RFC 1939 §5."""

    msg: int


@dataclass(frozen=True, slots=True)
class Noop(Command):
    """`NOOP` — RFC 1939 §5."""


@dataclass(frozen=True, slots=True)
class Rset(Command):
    """`RSET` — RFC 1939 §5."""


@dataclass(frozen=True, slots=True)
class Top(Command):
    """`TOP msg n` — RFC 1939 §7; `lines` of the body."""

    msg: int
    lines: int


@dataclass(frozen=True, slots=True)
class Uidl(Command):
    """`UIDL [msg]` — RFC 1939 §7."""

    msg: int | None = None


@dataclass(frozen=True, slots=True)
class User(Command):
    """`USER name` — RFC 1939 §7."""

    name: str

    def __repr__(self) -> str:
        return "User(name=…)"


@dataclass(frozen=True, slots=True)
class Pass(Command):
    """`PASS string` — RFC 1939 §7: the string may contain spaces."""

    password: str

    def __repr__(self) -> str:
        return "Pass(password=…)"


@dataclass(frozen=True, slots=True)
class Capa(Command):
    """`CAPA` — RFC 2449 §5."""


@dataclass(frozen=True, slots=True)
class Stls(Command):
    """`STLS` — RFC 2595 §4."""


@dataclass(frozen=True, slots=True)
class Auth(Command):
    """`AUTH mechanism [initial-response]` — RFC 5034 §4. `initial` is still base64; None: not sent.

    Without a mechanism: list them, as clients older than CAPA ask.
    """

    mechanism: str = ""
    initial: bytes | None = None

    def __repr__(self) -> str:
        return f"Auth({self.mechanism!r}, …)"


@dataclass(frozen=True, slots=True)
class Utf8(Command):
    """`UTF8` — RFC 6856 §2.1."""


@dataclass(frozen=True, slots=True)
class Lang(Command):
    """`LANG [language-range]` — RFC 6856 §3.2; None: list the languages."""

    language: str | None = None


_PLAIN_WORDS: Final[dict[bytes, Command]] = {
    b"QUIT": Quit(),
    b"STAT": Stat(),
    b"NOOP": Noop(),
    b"RSET": Rset(),
    b"CAPA": Capa(),
    b"STLS": Stls(),
    b"LIST": List(),
    b"UIDL": Uidl(),
    b"UTF8": Utf8(),
    b"LANG": Lang(),
    b"AUTH": Auth(),
}


def parse_command(line: bytes) -> Command:
    """Parse one command line.

    `line` is the raw octets without the trailing CRLF. Keywords are
    case-insensitive and separated from arguments by a single space (RFC 1939 §3).

    Raises SyntaxFault: the line is not a command this server knows.
    """
    word, space, rest = line.partition(b" ")
    keyword = word.upper()
    if not space and keyword in _PLAIN_WORDS:
        return _PLAIN_WORDS[keyword]
    match keyword:
        case b"RETR":
            return Retr(_number(rest))
        case b"DELE":
            return Dele(_number(rest))
        case b"LIST":
            return List(_number(rest))
        case b"UIDL":
            return Uidl(_number(rest))
        case b"TOP":
            msg, _, lines = rest.partition(b" ")
            if not _LINES.fullmatch(lines):
                raise SyntaxFault("write TOP, a message number and a number of lines")
            return Top(_number(msg), int(lines))
        case b"USER" if rest:
            return User(_text(rest))
        case b"PASS" if rest:
            return Pass(_text(rest))
        case b"AUTH":
            return _auth(rest)
        case b"LANG" if _LANGUAGE.fullmatch(rest):
            return Lang(rest.decode("ascii").lower())
        case _ if keyword in _PLAIN_WORDS:
            raise SyntaxFault("this command takes no argument")
        case _:
            raise SyntaxFault("unknown or malformed command")


def _number(argument: bytes) -> int:
    if not _MESSAGE_NUMBER.fullmatch(argument):
        raise SyntaxFault("a message number is needed, counted from 1")
    return int(argument)


def _text(argument: bytes) -> str:
    try:
        return argument.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SyntaxFault("names and passwords are UTF-8 (RFC 3629)") from error


def _auth(argument: bytes) -> Auth:
    mechanism, space, initial = argument.partition(b" ")
    if not _MECHANISM.fullmatch(mechanism) or (space and not initial):
        raise SyntaxFault("write AUTH and a mechanism")
    return Auth(mechanism.decode("ascii").upper(), initial if space else None)
