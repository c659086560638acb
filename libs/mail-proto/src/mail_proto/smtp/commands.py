"""One command line: its verb and the text behind it (RFC 5321 §4.1.1), and the arguments of BDAT, AUTH and XCLIENT.

bdat-cmd = "BDAT" SP chunk-size [ SP "LAST" ] CR LF          RFC 3030 §2
auth     = "AUTH" SP mechanism [SP initial-response]         RFC 4954 §4
xclient  = "XCLIENT" 1*( SP attribute-name "=" xtext )       http://www.postfix.org/XCLIENT_README.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from mail_proto.smtp.errors import ArgumentFault, LineTooLong, NonAsciiAddress, SyntaxFault, UnknownCommand
from mail_proto.smtp.xtext import NotXtext, decode_xtext

# RFC 5321 §4.5.3.1.4: 512 octets with CRLF, more for the parameters of extensions: AUTH 500 (RFC 4954 §5), ENVID and
# RET 107, NOTIFY and ORCPT 528 (RFC 3461 §4), SIZE 26, BODY 17, SMTPUTF8 10; and XCLIENT's attributes.
MAX_COMMAND_OCTETS: Final = 2048
# RFC 4954 §4.
MAX_AUTH_OCTETS: Final = 12_288
# What browsers can be made to send to any port; nobody who speaks SMTP does.
FOREIGN: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
XCLIENT_ATTRIBUTES: Final = ("NAME", "ADDR", "PORT", "PROTO", "HELO")
UNAVAILABLE: Final = ("[UNAVAILABLE]", "[TEMPUNAVAIL]")

_VERB: Final = re.compile(rb"[A-Za-z]{1,16}")
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")
# chunk-size = 1*DIGIT
_BDAT: Final = re.compile(r"([0-9]{1,19})(?: +(LAST))?", re.IGNORECASE | re.ASCII)


class Command(NamedTuple):
    """`verb` in upper case; `argument` without surrounding spaces."""

    verb: str
    argument: str


def parse_command(line: bytes) -> Command:
    """A line without CRLF. Raises SyntaxFault, LineTooLong, UnknownCommand, NonAsciiAddress."""
    if _CONTROL.search(line):
        raise SyntaxFault("control characters in a command: lines end with CRLF")
    word, _, rest = line.partition(b" ")
    if _VERB.fullmatch(word) is None:
        raise UnknownCommand("unknown command")
    verb = word.decode("ascii").upper()
    if len(line) > MAX_COMMAND_OCTETS - 2 and verb != "AUTH":
        raise LineTooLong("line too long")
    try:
        return Command(verb, rest.decode("utf-8").strip(" "))
    except UnicodeDecodeError as error:
        raise NonAsciiAddress("not UTF-8") from error


def parse_bdat(argument: str) -> tuple[int, bool]:
    """Size in octets, and whether it is the last chunk. Raises ArgumentFault."""
    found = _BDAT.fullmatch(argument)
    if found is None:
        raise ArgumentFault("write BDAT, a number of octets, and perhaps LAST")
    return int(found[1]), found[2] is not None


def parse_auth(argument: str) -> tuple[str, str | None]:
    """Mechanism and initial response, still Base64. Raises ArgumentFault."""
    words = argument.split(" ")
    if not words[0] or len(words) > 2 or (len(words) == 2 and not words[1]):
        raise ArgumentFault("write AUTH, a mechanism, and perhaps an initial response")
    return words[0], words[1] if len(words) == 2 else None


@dataclass(frozen=True, slots=True)
class ClientAttributes:
    """What a proxy says about the client in front of it; None: it said nothing, empty: it doesn't know."""

    name: str | None = None
    address: str | None = None
    helo: str | None = None
    protocol: str | None = None


def parse_xclient(argument: str) -> ClientAttributes:
    """Raises ArgumentFault."""
    found: dict[str, str] = {}
    for word in argument.split():
        name, equals, value = word.partition("=")
        name = name.upper()
        if name not in XCLIENT_ATTRIBUTES or not equals or name in found:
            raise ArgumentFault(f"XCLIENT knows {' '.join(XCLIENT_ATTRIBUTES)}")
        try:
            found[name] = "" if value.upper() in UNAVAILABLE else decode_xtext(value)
        except NotXtext as fault:
            raise ArgumentFault(f"{name} is not xtext") from fault
    if not found:
        raise ArgumentFault("write XCLIENT and attributes")
    address = found.get("ADDR")
    if address is not None and address[:5].lower() == "ipv6:":
        address = address[5:]
    return ClientAttributes(found.get("NAME"), address, found.get("HELO"), found.get("PROTO"))
