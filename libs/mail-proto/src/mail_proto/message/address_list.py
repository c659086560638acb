"""Address lists of header fields, as ENVELOPE wants them (RFC 5322 §3.4, obsolete forms of §4.4 included).

    address-list = (address *("," address)) / obs-addr-list
    address      = mailbox / group
    mailbox      = ([display-name] "<" [obs-route] addr-spec ">") / addr-spec
    group        = display-name ":" [group-list] ";"

Tolerant: any octets give some list. One pass over the tokens; a comma outside of quotes, comments and routes
ends an address, whatever else is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from mail_proto.message.charsets import decode_octets
from mail_proto.message.headers import decode

# Ours: some 1,500 recipients; what comes later is left out of the list.
MAX_LIST_OCTETS: Final = 65_536

_TOKEN: Final = re.compile(
    rb"(?P<space>[\x00-\x20]++)"
    rb"|\"(?P<quoted>(?:[^\"\\]|\\.)*+)(?:\"|\\?\Z)"
    rb"|(?P<literal>\[[^\]]*+\]?+)"
    rb"|(?P<encoded>=\?[^?\s\x00]{1,64}+\?[bBqQ]\?[^?\s\x00]*+\?=)"  # with the commas that some senders leave in it
    rb"|(?P<special>[,;:<>@()])"
    rb"|(?P<atom>[^\x00-\x20\",;:<>@()\[]++)",
    re.DOTALL,
)
_WORD: Final = rb"[^\x00-\x20\",;:<>@()\[\\]++"
# What nearly all lists are made of: `name <local@host>` or `local@host`, up to a comma or the end.
_USUAL: Final = re.compile(
    rb"[ \t]*+(?:"
    rb"(?:\"([^\"\\\x00]*+)\"|((?:%s(?: (?=[^ <]))?+)++))?+[ \t]*+<(%s)@(%s)>|(%s)@(%s)"
    rb")[ \t]*+(?:,|\Z)" % ((_WORD,) * 5)
)
_COMMENT_EVENT: Final = re.compile(rb"[()]|\\.", re.DOTALL)
_DOT_ATOM: Final = re.compile(rb"[^\x00-\x20\",;:<>@()\[\]\\]*+")
_QUOTED_SPECIAL: Final = re.compile(rb'(["\\])')
_QUOTED_PAIR: Final = re.compile(rb"\\(.)", re.DOTALL)


class ListedAddress(NamedTuple):
    """One entry. A group begins with one that has only a mailbox (its name), and ends with one that is empty."""

    name: bytes | None = None
    route: bytes | None = None
    mailbox: bytes | None = None
    host: bytes | None = None


GROUP_END: Final = ListedAddress()


@dataclass(frozen=True, slots=True)
class _Word:
    """A token of a phrase or address; `spaced` if white space or a comment stands before it."""

    text: bytes
    spaced: bool


def parse_list(value: bytes) -> list[ListedAddress]:
    """The addresses of an unfolded field value. Never raises; reads MAX_LIST_OCTETS at most."""
    value = value[:MAX_LIST_OCTETS]
    addresses: list[ListedAddress] = []
    position = 0
    while position < len(value) and (found := _USUAL.match(value, position)) is not None:
        quoted, phrase, local, host, bare_local, bare_host = found.groups()
        addresses.append(ListedAddress(quoted or phrase, None, local or bare_local, host or bare_host))
        position = found.end()
    if position < len(value):
        _Parser(addresses).read(value, position)
    return addresses


def displayed(listed: Iterable[ListedAddress]) -> list[tuple[str, str]]:
    """(name, address) of each, decoded; names of groups are left out. A local part is quoted where it must be.

    What is no address at all (`From: "Joe Bloggs"`) is a name.
    """
    return [_displayed(one.name or b"", one.mailbox or b"", one.host) for one in listed if one.host is not None]


def _displayed(name: bytes, local: bytes, host: bytes) -> tuple[str, str]:
    if not host and not name and not _DOT_ATOM.fullmatch(local):
        return decode(local), ""
    return decode(name) if name else "", _address(local, host)


def _address(local: bytes, host: bytes) -> str:
    if not _DOT_ATOM.fullmatch(local):
        local = b'"' + _QUOTED_SPECIAL.sub(rb"\\\1", local) + b'"'
    return decode_octets(b"%b@%b" % (local, host) if host else local)


class _Parser:
    """Adds to the list of addresses that it is given."""

    def __init__(self, addresses: list[ListedAddress]) -> None:
        self.addresses = addresses
        self._in_group = False
        self._reset()

    def _reset(self) -> None:
        self._words: list[_Word] = []  # of the address or the phrase so far
        self._name: list[_Word] | None = None  # the phrase before "<"
        self._route: bytes | None = None
        self._comment: bytes | None = None
        self._in_angle = False
        self._is_complete = False  # ">" has been read

    def read(self, value: bytes, position: int) -> None:
        """From an offset where an address may begin, to the end."""
        spaced = False
        while (token := _TOKEN.match(value, position)) is not None:
            position = token.end()
            match token.lastgroup:
                case "space":
                    spaced = True
                    continue
                case "special" if token[0] == b"(":
                    position = self._read_comment(value, position)
                    spaced = True
                    continue
                case "special" if token[0] != b")":
                    self._special(token[0])
                case "quoted":
                    self._add(_QUOTED_PAIR.sub(rb"\1", token["quoted"]), spaced)
                case "literal" | "atom" | "encoded":
                    self._add(token[0], spaced)
            spaced = False
        self._flush()
        if self._in_group:
            self.addresses.append(GROUP_END)

    def _add(self, text: bytes, spaced: bool) -> None:
        if not self._is_complete:
            self._words.append(_Word(text, spaced))

    def _special(self, special: bytes) -> None:
        match special:
            case b"@":
                self._add(b"@", False)
            case b"<" if not self._in_angle and not self._is_complete:
                self._name, self._words, self._in_angle = self._words, [], True
            case b">":
                self._in_angle, self._is_complete = False, self._name is not None
            case b":" if self._in_angle:
                self._route = b"".join(word.text for word in self._words)
                self._words = []
            case b":" if not self._in_group and not self._is_complete:
                self.addresses.append(ListedAddress(mailbox=_phrase(self._words)))
                self._reset()
                self._in_group = True
            case b"," if self._in_angle and self._words[:1] == [_Word(b"@", False)]:
                self._add(b",", False)  # obs-route: "@one,@two:user@host"
            case b",":
                self._flush()
            case b";":
                self._flush()
                if self._in_group:
                    self.addresses.append(GROUP_END)
                    self._in_group = False
            case _:
                pass

    def _read_comment(self, value: bytes, start: int) -> int:
        """Remember the comment that begins behind its parenthesis; the offset behind its end."""
        depth = 1
        for event in _COMMENT_EVENT.finditer(value, start):
            depth += {b"(": 1, b")": -1}.get(event[0], 0)
            if depth == 0:
                self._comment = _QUOTED_PAIR.sub(rb"\1", value[start : event.start()]).strip()
                return event.end()
        self._comment = value[start:].strip()
        return len(value)

    def _flush(self) -> None:
        words, name, route, comment = self._words, self._name, self._route, self._comment
        self._reset()
        if not words and name is None:
            return
        if name is not None:
            local, host, _ = _split(words)
            display = _phrase(name)
        else:
            local, host, before = _split_bare(words)
            display = _phrase(before)
        self.addresses.append(ListedAddress(display or comment or None, route, local, host))


def _phrase(words: list[_Word]) -> bytes:
    return b"".join(b" " + word.text if word.spaced and n else word.text for n, word in enumerate(words))


def _split(words: list[_Word]) -> tuple[bytes, bytes, int]:
    """Local part, host, and the index of the last "@" (-1 where there is none: the host is empty then)."""
    at = next((n for n in range(len(words) - 1, -1, -1) if words[n].text == b"@"), -1)
    if at < 0:
        return _phrase(words), b"", -1
    return b"".join(w.text for w in words[:at]), b"".join(w.text for w in words[at + 1 :]), at


def _split_bare(words: list[_Word]) -> tuple[bytes, bytes, list[_Word]]:
    """An address without brackets, and the words before and behind it: `Joe Bloggs joe@example.com`."""
    local, host, at = _split(words)
    if at < 0:
        return local, host, []
    first = max(at - 1, 0)
    while first > 0 and _is_joined(words[first - 1], words[first]):
        first -= 1
    last = at + 1
    while last + 1 < len(words) and _is_joined(words[last], words[last + 1]):
        last += 1
    rest = words[:first] + words[last + 1 :]
    if not rest:
        return local, host, []
    return (
        b"".join(word.text for word in words[first:at]),
        b"".join(word.text for word in words[at + 1 : last + 1]),
        rest,
    )


def _is_joined(left: _Word, right: _Word) -> bool:
    """Whether two tokens are of one word: nothing between them, or white space around a dot (RFC 5322 §4.4)."""
    return not right.spaced or left.text.endswith(b".") or right.text.startswith(b".")
