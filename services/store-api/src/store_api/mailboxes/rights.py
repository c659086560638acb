"""The rights of RFC 4314 §2.1, and which of them changing a flag takes (§4)."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final

from mail_runtime.contracts.errors import Refused
from mail_runtime.contracts.store.sharing import RIGHTS


class Right(enum.IntFlag):
    """Bits as they are kept; the letters of RFC 4314 in the order of `RIGHTS`."""

    LOOKUP = 1  # l
    READ = 2  # r
    SEEN = 4  # s
    WRITE = 8  # w
    INSERT = 16  # i
    POST = 32  # p
    CREATE = 64  # k
    DELETE_MAILBOX = 128  # x
    DELETE_MESSAGES = 256  # t
    EXPUNGE = 512  # e
    ADMINISTER = 1024  # a


NO_RIGHT: Final = Right(0)
ALL_RIGHTS: Final = Right((1 << len(RIGHTS)) - 1)
# Each of these changes some flags.
CHANGING: Final = Right.SEEN | Right.WRITE | Right.DELETE_MESSAGES
# Any of these shows that there is the mailbox (RFC 4314 §4, MYRIGHTS).
SHOWING: Final = Right.LOOKUP | Right.READ | Right.INSERT | Right.CREATE | Right.DELETE_MAILBOX | Right.ADMINISTER

# Of a flag named `x`: its bit among `:rights`.
MAY_CHANGE: Final = (
    f"CASE lower(x) WHEN '\\seen' THEN {Right.SEEN:d} WHEN '\\deleted' THEN {Right.DELETE_MESSAGES:d}"
    f" ELSE {Right.WRITE:d} END & CAST(:rights AS integer) <> 0"
)


def parse_rights(letters: str) -> Right:
    """Raises Refused: a letter that is no right."""
    found = NO_RIGHT
    for letter in letters:
        place = RIGHTS.find(letter)
        if place < 0:
            raise Refused(f"{letter!r} is no right")
        found |= Right(1 << place)
    return found


def letters_of(rights: Right) -> str:
    """In the order of `RIGHTS`."""
    return "".join(letter for place, letter in enumerate(RIGHTS) if rights & (1 << place))


def right_for(flag: str) -> Right:
    """What changing it takes."""
    match flag.lower():
        case "\\seen":
            return Right.SEEN
        case "\\deleted":
            return Right.DELETE_MESSAGES
        case _:
            return Right.WRITE


def changeable(flags: Iterable[str], rights: Right) -> list[str]:
    """Those of the flags that somebody with these rights may change."""
    return [flag for flag in flags if rights & right_for(flag)]
