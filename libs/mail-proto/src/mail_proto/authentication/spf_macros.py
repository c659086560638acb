"""Macros in domain-specs of SPF (RFC 7208 §7).

domain-spec   = macro-string domain-end
domain-end    = ( "." toplabel [ "." ] ) / macro-expand
macro-string  = *( macro-expand / macro-literal )
macro-expand  = ( "%{" macro-letter transformers *delimiter "}" ) / "%%" / "%_" / "%-"
macro-letter  = "s" / "l" / "o" / "d" / "i" / "p" / "h" / "c" / "r" / "t" / "v"
transformers  = *DIGIT [ "r" ]                  delimiter = "." / "-" / "+" / "," / "/" / "_" / "="
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final
from urllib.parse import quote

IpAddress = IPv4Address | IPv6Address

# RFC 7208 §7.3: longer names lose labels on the left.
MAX_NAME_OCTETS: Final = 253
# c, r and t are for explanations only (§7.2).
_EXPAND: Final = re.compile(r"%(?:\{([slodiphvSLODIPHV])(\d*)([rR]?)([-.+,/_=]*)\}|([%_-]))")
_MACRO_LITERAL: Final = re.compile(r"[\x21-\x24\x26-\x7e]+")
# toplabel has a letter, or a hyphen inside: never digits alone.
_DOMAIN_END: Final = re.compile(r"\.(?:[A-Za-z0-9]*[A-Za-z][A-Za-z0-9]*|[A-Za-z0-9]+-[A-Za-z0-9-]*[A-Za-z0-9])\.?\Z")
_SIMPLE: Final = {"%": "%", "_": " ", "-": "%20"}


class MacroFault(Exception):
    """The text breaks the grammar."""


@dataclass(frozen=True, slots=True)
class Values:
    """What the letters stand for: §7.2. `validated_name` is `p`."""

    ip: IpAddress
    sender: str
    helo: str
    domain: str
    validated_name: str = "unknown"

    def by_letter(self) -> Mapping[str, str]:
        local, _, sender_domain = self.sender.rpartition("@")
        is_ip4 = isinstance(self.ip, IPv4Address)
        return {
            "s": self.sender,
            "l": local,
            "o": sender_domain,
            "d": self.domain,
            "i": str(self.ip) if is_ip4 else ".".join(self.ip.exploded.replace(":", "")),
            "p": self.validated_name,
            "v": "in-addr" if is_ip4 else "ip6",
            "h": self.helo,
        }


def check_macro_string(text: str) -> None:
    """Raises MacroFault."""
    position = 0
    while position < len(text):
        found = _EXPAND.match(text, position) or _MACRO_LITERAL.match(text, position)
        if found is None:
            raise MacroFault("bad macro")
        if found.re is _EXPAND and found[2] and int(found[2][:4]) == 0:
            raise MacroFault("zero labels of a macro")
        position = found.end()


def check_domain_spec(text: str) -> None:
    """Raises MacroFault: no macro-string, or not with a domain-end."""
    check_macro_string(text)
    ends_in_macro = any(found.end() == len(text) for found in _EXPAND.finditer(text))
    if not ends_in_macro and _DOMAIN_END.search(text) is None:
        raise MacroFault("no domain")


def names_client(text: str) -> bool:
    """Whether expanding needs the validated name of the client (`p`), which costs look-ups."""
    return any((found[1] or "").lower() == "p" for found in _EXPAND.finditer(text))


def expand(text: str, values: Values) -> str:
    """The domain name that a checked domain-spec comes to, in its last MAX_NAME_OCTETS, without the last dot."""
    letters = values.by_letter()
    name = _EXPAND.sub(lambda found: _expanded(found, letters), text).removesuffix(".")
    while len(name) > MAX_NAME_OCTETS and "." in name:
        name = name.partition(".")[2]
    return name


def _expanded(found: re.Match[str], letters: Mapping[str, str]) -> str:
    if found[5]:
        return _SIMPLE[found[5]]
    letter, digits, reverse, delimiters = found[1], found[2], found[3], found[4]
    value = letters[letter.lower()]
    if digits or reverse or delimiters:
        parts = re.split(f"[{re.escape(delimiters or '.')}]", value)
        if reverse:
            parts.reverse()
        # More digits than any name has labels mean all of them.
        value = ".".join(parts[-int(digits[:4]) :] if digits else parts)
    return quote(value, safe="-._~") if letter.isupper() else value
