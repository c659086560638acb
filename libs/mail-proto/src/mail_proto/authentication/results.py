"""The field Authentication-Results (RFC 8601), written for our readers, and removed where strangers wrote it.

authres-header-field = "Authentication-Results:" authres-payload
authres-payload      = [CFWS] authserv-id [ CFWS authres-version ] ( no-result / 1*resinfo ) [CFWS] CRLF
resinfo              = [CFWS] ";" methodspec [ CFWS reasonspec ] [ CFWS 1*propspec ]
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from mail_proto.authentication.arc import Arc
from mail_proto.authentication.dkim import Dkim
from mail_proto.authentication.dmarc import Dmarc
from mail_proto.authentication.spf import Spf
from mail_proto.message.headers import lines

_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$&'*+.^_`{|}~@-]+")
_NAME: Final = b"authentication-results"
# Comments of comments deeper than this: nobody writes such a field honestly.
_MAX_DEPTH: Final = 10


@dataclass(frozen=True, slots=True)
class Result:
    """One resinfo; properties as `smtp.mailfrom` and value."""

    method: str
    result: str
    properties: Sequence[tuple[str, str]] = ()
    reason: str = ""


def of_spf(spf: Spf) -> Result:
    """RFC 8601 §2.7.2."""
    return Result("spf", spf.result, [(f"smtp.{spf.identity}", spf.domain)], spf.reason)


def of_dkim(results: Sequence[Dkim]) -> list[Result]:
    """RFC 8601 §2.7.1; RFC 6008 §4: the beginning of b= tells signatures apart."""
    if not results:
        return [Result("dkim", "none")]
    return [
        Result("dkim", one.result, _dkim_properties(one), one.reason or ("test mode" if one.is_test else ""))
        for one in results
    ]


def _dkim_properties(one: Dkim) -> list[tuple[str, str]]:
    if not one.domain:
        return []
    beginning = base64.b64encode(one.signature[:6]).decode()
    return [("header.d", one.domain), ("header.s", one.selector), ("header.a", one.algorithm), ("header.b", beginning)]


def of_dmarc(dmarc: Dmarc) -> Result:
    """RFC 7489 §11.1."""
    properties = [("header.from", dmarc.domain)] if dmarc.domain else []
    if dmarc.result == "fail":
        properties.append(("policy.dmarc", dmarc.policy))
    return Result("dmarc", dmarc.result, properties, dmarc.reason)


def of_arc(arc: Arc) -> Result:
    """RFC 8617 §10.1."""
    return Result("arc", arc.result, reason=arc.reason)


def render(authserv_id: str, results: Iterable[Result]) -> bytes:
    """The complete field, folded, with CRLF. Values that are no tokens are quoted; line ends can't get in."""
    parts = [f"Authentication-Results: {_value(authserv_id)}"]
    for one in results:
        reason = f' reason="{_quotable(one.reason)}"' if one.reason else ""
        properties = "".join(f" {name}={_value(value)}" for name, value in one.properties if value)
        parts.append(f"\t{one.method}={one.result}{reason}{properties}")
    if len(parts) == 1:
        parts.append("\tnone")
    return (";\r\n".join(parts) + "\r\n").encode()


def _value(text: str) -> str:
    return text if _TOKEN.fullmatch(text) else f'"{_quotable(text)}"'


def _quotable(text: str) -> str:
    return "".join(char if char.isprintable() and char not in '"\\' else "?" for char in text)[:256]


def without_results_of(message: bytes, authserv_id: str) -> bytes:
    """The message without the fields that claim to be of that server, or of nobody who can be told (RFC 8601 §5)."""
    kept: list[bytes] = []
    position, wanted = 0, authserv_id.lower()
    for line in lines(message):
        if line.name.lower() != _NAME:
            continue
        author = authserv_of(message[line.value_start : line.value_end].decode("latin-1"))
        if author is None or author.lower() == wanted:
            kept.append(message[position : line.start])
            position = line.end
    if position == 0:
        return message
    return b"".join(kept) + message[position:]


def authserv_of(value: str) -> str | None:
    """Who a field claims to be of; None: it can't be read."""
    position = _skip_comments(value)
    if position is None:
        return None
    if value.startswith('"', position):
        found = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL).match(value, position)
        return re.sub(r"\\(.)", r"\1", found[1]) if found is not None else None
    # Up to a separator, lest odd octets hide a forged name.
    found = re.compile(r"[^\s;()\"/]+").match(value, position)
    return found[0] if found is not None else None


def _skip_comments(value: str) -> int | None:
    """Where the first octet outside of white space and comments is; None: a comment has no end."""
    depth, position = 0, 0
    while position < len(value):
        char = value[position]
        if char == "(":
            depth += 1
        elif char == ")" and depth:
            depth -= 1
        elif char == "\\" and depth:
            position += 1
        elif not depth and char not in " \t\r\n":
            return position
        if depth > _MAX_DEPTH:
            return None
        position += 1
    return None
