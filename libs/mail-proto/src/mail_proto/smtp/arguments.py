"""Arguments of MAIL and RCPT: path and parameters.

    mail            = "MAIL FROM:" Reverse-path [SP Mail-parameters]       RFC 5321 §4.1.1.2
    rcpt            = "RCPT TO:" ( "<Postmaster@" Domain ">" / "<Postmaster>" / Forward-path )
                      [SP Rcpt-parameters]                                  RFC 5321 §4.1.1.3
    Path            = "<" [ A-d-l ":" ] Mailbox ">"                         RFC 5321 §4.1.2
    Mail-parameters = esmtp-param *(SP esmtp-param)
    esmtp-param     = esmtp-keyword ["=" esmtp-value]

Parameters known: SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531), AUTH (RFC 4954 §5; read, not used).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mail_proto.addresses import AddressFault, parse_mailbox
from mail_proto.smtp.errors import (
    ArgumentFault,
    BadRecipientAddress,
    BadSenderAddress,
    NonAsciiAddress,
    UnknownParameter,
)

POSTMASTER: Final = "postmaster"

# One optional space after the colon: RFC 5321 §3.3 forbids it, Outlook and old printers write it.
_PATH: Final = re.compile(r'[ ]?<((?:[^"\\<>\s]|\\[^\s]|"(?:[^"\\]|\\.)*")*)>(?:[ ]+(.*))?', re.DOTALL)
# A-d-l = At-domain *( "," At-domain ): source routes are read and ignored (RFC 5321 §4.1.1.3, appendix C).
_SOURCE_ROUTE: Final = re.compile(r"@[^,:\"]+(?:,@[^,:\"]+)*:")
_PARAMETER: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^\x00-\x20=\x7f]+))?")
_SIZE: Final = re.compile(r"[0-9]{1,20}")
_BODIES: Final = frozenset({"7BIT", "8BITMIME"})


@dataclass(frozen=True, slots=True)
class MailArguments:
    """What MAIL says. The null reverse path is empty; `size_octets` is None when not declared."""

    reverse_path: str
    size_octets: int | None = None
    smtputf8: bool = False


def parse_mail(argument: str) -> MailArguments:
    """Parse what follows `MAIL `.

    Raises ArgumentFault, UnknownParameter, BadSenderAddress, NonAsciiAddress.
    """
    path, parameters = _split(argument, "FROM:")
    size: int | None = None
    smtputf8 = False
    for keyword, value in parameters.items():
        match keyword, value:
            case "SIZE", str() if _SIZE.fullmatch(value):
                size = int(value)
            case "BODY", str() if value.upper() in _BODIES:
                pass
            case "SMTPUTF8", None:
                smtputf8 = True
            case "AUTH", str():
                pass
            case (("SIZE" | "BODY" | "SMTPUTF8" | "AUTH"), _):
                raise ArgumentFault(f"malformed {keyword} parameter")
            case _:
                raise UnknownParameter(f"MAIL parameter {keyword[:32]} is not offered")
    if path and not smtputf8 and not path.isascii():
        raise NonAsciiAddress("a non-ASCII address needs the SMTPUTF8 parameter")
    try:
        return MailArguments(_mailbox(path) if path else "", size, smtputf8)
    except AddressFault as fault:
        raise BadSenderAddress("the reverse path is not a mail address") from fault


def parse_rcpt(argument: str, smtputf8: bool) -> str:
    """The forward path of what follows `RCPT `: an address, or POSTMASTER without a domain (RFC 5321 §4.5.1).

    Raises ArgumentFault, UnknownParameter, BadRecipientAddress, NonAsciiAddress.
    """
    path, parameters = _split(argument, "TO:")
    for keyword in parameters:
        raise UnknownParameter(f"RCPT parameter {keyword[:32]} is not offered")
    if path.lower() == POSTMASTER:
        return POSTMASTER
    if not smtputf8 and not path.isascii():
        raise NonAsciiAddress("a non-ASCII address needs the SMTPUTF8 parameter of MAIL")
    try:
        return _mailbox(path)
    except AddressFault as fault:
        raise BadRecipientAddress("the forward path is not a mail address") from fault


def _split(argument: str, keyword: str) -> tuple[str, dict[str, str | None]]:
    """Path without its brackets, and parameters by upper-case keyword."""
    match = None
    if argument[: len(keyword)].upper() == keyword:
        match = _PATH.fullmatch(argument, len(keyword))
    if match is None:
        raise ArgumentFault(f"write {keyword}<address>")
    parameters: dict[str, str | None] = {}
    for word in (match[2] or "").split():
        parameter = _PARAMETER.fullmatch(word)
        if parameter is None or parameter[1].upper() in parameters:
            raise ArgumentFault("malformed or repeated parameter")
        parameters[parameter[1].upper()] = parameter[2]
    return match[1], parameters


def _mailbox(path: str) -> str:
    route = _SOURCE_ROUTE.match(path)
    return str(parse_mailbox(path[route.end() :] if route else path))
