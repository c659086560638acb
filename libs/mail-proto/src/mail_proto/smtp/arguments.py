"""Arguments of MAIL and RCPT: path and parameters.

    mail            = "MAIL FROM:" Reverse-path [SP Mail-parameters]       RFC 5321 §4.1.1.2
    rcpt            = "RCPT TO:" ( "<Postmaster@" Domain ">" / "<Postmaster>" / Forward-path )
                      [SP Rcpt-parameters]                                  RFC 5321 §4.1.1.3
    Path            = "<" [ A-d-l ":" ] Mailbox ">"                         RFC 5321 §4.1.2
    Mail-parameters = esmtp-param *(SP esmtp-param)
    esmtp-param     = esmtp-keyword ["=" esmtp-value]

Parameters always known: SIZE (RFC 1870), BODY (RFC 6152, RFC 3030), SMTPUTF8 (RFC 6531), AUTH (RFC 4954 §5; read, not
used). Where DSN is offered: RET, ENVID, NOTIFY, ORCPT (RFC 3461); under TLS: REQUIRETLS (RFC 8689).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from mail_proto.addresses import AddressFault, parse_mailbox
from mail_proto.smtp.errors import (
    ArgumentFault,
    BadRecipientAddress,
    BadSenderAddress,
    NonAsciiAddress,
    UnknownParameter,
)
from mail_proto.smtp.xtext import NotXtext, decode_xtext

POSTMASTER: Final = "postmaster"

# One optional space after the colon: RFC 5321 §3.3 forbids it, Outlook and old printers write it.
_PATH: Final = re.compile(r'[ ]?<((?:[^"\\<>\s]|\\[^\s]|"(?:[^"\\]|\\.)*")*)>(?:[ ]+(.*))?', re.DOTALL)
# A-d-l = At-domain *( "," At-domain ): source routes are read and ignored (RFC 5321 §4.1.1.3, appendix C).
_SOURCE_ROUTE: Final = re.compile(r"@[^,:\"]+(?:,@[^,:\"]+)*:")
_PARAMETER: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^\x00-\x20=\x7f]+))?")
_SIZE: Final = re.compile(r"[0-9]{1,20}")
_ORCPT: Final = re.compile(r"([A-Za-z0-9-]+);(.+)")
_NOTIFY: Final[dict[str, Notify]] = {"SUCCESS": "success", "FAILURE": "failure", "DELAY": "delay"}
_RET: Final[dict[str, Ret]] = {"FULL": "full", "HDRS": "hdrs"}
# RFC 3461 §4.4 and §4.2, before and after decoding.
MAX_ENVID: Final = 100
MAX_ORCPT: Final = 500

# RFC 3461 §4.1: "never" stands alone. §4.3: empty where nothing was said.
Notify = Literal["never", "success", "failure", "delay"]
Ret = Literal["", "full", "hdrs"]


@dataclass(frozen=True, slots=True)
class MailArguments:
    """What MAIL says. The null reverse path is empty; `size_octets` is None when not declared.

    `body` is 7BIT, 8BITMIME or BINARYMIME, empty when not declared; `envid` is decoded.
    """

    reverse_path: str
    size_octets: int | None = None
    smtputf8: bool = False
    body: str = ""
    ret: Ret = ""
    envid: str = ""
    requires_tls: bool = False


@dataclass(frozen=True, slots=True)
class RcptArguments:
    """What RCPT says: the forward path, or POSTMASTER without a domain (RFC 5321 §4.5.1).

    `notify` is None where nothing was said; `orcpt` is `type;address`, decoded.
    """

    forward_path: str
    notify: tuple[Notify, ...] | None = None
    orcpt: str = ""


def parse_mail(argument: str, offered: Collection[str] = ()) -> MailArguments:
    """Parse what follows `MAIL `. `offered`: which of DSN, BINARYMIME and REQUIRETLS are.

    Raises ArgumentFault, UnknownParameter, BadSenderAddress, NonAsciiAddress.
    """
    path, parameters = _split(argument, "FROM:")
    extended = {"RET": "DSN", "ENVID": "DSN", "REQUIRETLS": "REQUIRETLS"}
    _check_offered("MAIL", parameters, {"SIZE", "BODY", "SMTPUTF8", "AUTH"}, extended, offered)
    smtputf8 = _flag(parameters, "SMTPUTF8")
    if path and not smtputf8 and not path.isascii():
        raise NonAsciiAddress("a non-ASCII address needs the SMTPUTF8 parameter")
    if "AUTH" in parameters and not parameters["AUTH"]:
        raise ArgumentFault("malformed AUTH parameter")
    try:
        reverse_path = _mailbox(path) if path else ""
    except AddressFault as fault:
        raise BadSenderAddress("the reverse path is not a mail address") from fault
    return MailArguments(
        reverse_path,
        _size(parameters),
        smtputf8,
        _word(parameters, "BODY", {"7BIT", "8BITMIME"} | ({"BINARYMIME"} if "BINARYMIME" in offered else set())),
        _RET.get(_word(parameters, "RET", _RET), ""),
        _xtext(parameters, "ENVID", MAX_ENVID),
        _flag(parameters, "REQUIRETLS"),
    )


def parse_rcpt(argument: str, smtputf8: bool, offered: Collection[str] = ()) -> RcptArguments:
    """Parse what follows `RCPT `.

    Raises ArgumentFault, UnknownParameter, BadRecipientAddress, NonAsciiAddress.
    """
    path, parameters = _split(argument, "TO:")
    _check_offered("RCPT", parameters, (), {"NOTIFY": "DSN", "ORCPT": "DSN"}, offered)
    notify = _notify(parameters)
    orcpt = _orcpt(parameters, smtputf8)
    if path.lower() == POSTMASTER:
        return RcptArguments(POSTMASTER, notify, orcpt)
    if not smtputf8 and not path.isascii():
        raise NonAsciiAddress("a non-ASCII address needs the SMTPUTF8 parameter of MAIL")
    try:
        return RcptArguments(_mailbox(path), notify, orcpt)
    except AddressFault as fault:
        raise BadRecipientAddress("the forward path is not a mail address") from fault


Parameters = Mapping[str, str | None]


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


def _check_offered(
    command: str, parameters: Parameters, always: Collection[str], extended: Mapping[str, str], offered: Collection[str]
) -> None:
    for keyword in parameters:
        if keyword not in always and extended.get(keyword) not in offered:
            raise UnknownParameter(f"{command} parameter {keyword[:32]} is not offered")


def _mailbox(path: str) -> str:
    route = _SOURCE_ROUTE.match(path)
    return str(parse_mailbox(path[route.end() :] if route else path))


def _flag(parameters: Parameters, keyword: str) -> bool:
    if parameters.get(keyword) is not None:
        raise ArgumentFault(f"{keyword} takes no value")
    return keyword in parameters


def _size(parameters: Parameters) -> int | None:
    if "SIZE" not in parameters:
        return None
    value = parameters["SIZE"] or ""
    if _SIZE.fullmatch(value) is None:
        raise ArgumentFault("malformed SIZE parameter")
    return int(value)


def _word(parameters: Parameters, keyword: str, allowed: Collection[str]) -> str:
    if keyword not in parameters:
        return ""
    value = (parameters[keyword] or "").upper()
    if value not in allowed:
        raise ArgumentFault(f"malformed {keyword} parameter")
    return value


def _xtext(parameters: Parameters, keyword: str, most: int) -> str:
    if keyword not in parameters:
        return ""
    value = parameters[keyword] or ""
    try:
        decoded = decode_xtext(value)
    except NotXtext as fault:
        raise ArgumentFault(f"{keyword} is not xtext") from fault
    if not 0 < len(decoded) <= most:
        raise ArgumentFault(f"malformed {keyword} parameter")
    return decoded


def _notify(parameters: Parameters) -> tuple[Notify, ...] | None:
    if "NOTIFY" not in parameters:
        return None
    words = (parameters["NOTIFY"] or "").upper().split(",")
    if words == ["NEVER"]:
        return ("never",)
    if not _NOTIFY.keys() >= set(words) or len(words) != len(set(words)):
        raise ArgumentFault("malformed NOTIFY parameter")
    return tuple(_NOTIFY[word] for word in words)


def _orcpt(parameters: Parameters, smtputf8: bool) -> str:
    """RFC 3461 §4.2; of type utf-8 with SMTPUTF8, where it may hold UTF-8 as it is (RFC 6533 §3)."""
    if "ORCPT" not in parameters:
        return ""
    value = parameters["ORCPT"] or ""
    found = _ORCPT.fullmatch(value)
    if found is None or len(value) > MAX_ORCPT:
        raise ArgumentFault("malformed ORCPT parameter")
    kind = found[1].lower()
    if kind == "utf-8" and smtputf8:
        return f"{kind};{found[2]}"
    try:
        return f"{kind};{decode_xtext(found[2])}"
    except NotXtext as fault:
        raise ArgumentFault("ORCPT is not xtext") from fault
