"""Mail addresses of the envelope (RFC 5321 §4.1.2, RFC 6531 §3.3).

Mailbox        = Local-part "@" ( Domain / address-literal )
Local-part     = Dot-string / Quoted-string
Domain         = sub-domain *("." sub-domain)
sub-domain     = Let-dig [Ldh-str] / U-label
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from mail_proto.srs import is_srs

# RFC 5321 §4.5.3.1.1 to §4.5.3.1.3, in octets.
MAX_LOCAL_OCTETS: Final = 64
MAX_DOMAIN_OCTETS: Final = 255
MAX_ADDRESS_OCTETS: Final = 254
MAX_LABEL_OCTETS: Final = 63

_DOT_STRING: Final = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]++(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]++)*+"
)
_QUOTED_STRING: Final = re.compile(r'"((?:[^"\\]|\\[ -~])*+)"')
_QUOTED_PAIR: Final = re.compile(r"\\(.)")
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


class AddressFault(Exception):
    """The text is no address. `str(fault)` says why and is safe to send."""


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox: the local part without its quoting, the domain in lower case (or an address literal)."""

    local: str
    domain: str

    def __str__(self) -> str:
        if _DOT_STRING.fullmatch(self.local):
            return f"{self.local}@{self.domain}"
        escaped = self.local.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"@{self.domain}'


def parse_mailbox(text: str) -> Address:
    """Parse `local@domain`, without angle brackets. Raises AddressFault."""
    if len(text) > MAX_ADDRESS_OCTETS or len(text.encode("utf-8", "replace")) > MAX_ADDRESS_OCTETS:
        raise AddressFault("the address is too long")
    if not text.isprintable():
        raise AddressFault("the address has control characters")
    quoted = _QUOTED_STRING.match(text)
    found = quoted or _DOT_STRING.match(text)
    if found is None:
        raise AddressFault("the local part is malformed")
    if not text.startswith("@", found.end()):
        raise AddressFault("the address must be local-part@domain")
    local = _QUOTED_PAIR.sub(r"\1", quoted[1]) if quoted else found[0]
    # A forwarder's return address holds another local part and a domain: bounces to it would be lost (RFC 5321 §4.5.3.1
    # asks to impose no limit where that can be avoided).
    if len(local.encode()) > MAX_LOCAL_OCTETS and not is_srs(local):
        raise AddressFault("the local part is too long")
    return Address(local, parse_domain(text[found.end() + 1 :]))


def parse_domain(text: str) -> str:
    """A domain or address literal in lower case and NFC. Raises AddressFault."""
    if text.startswith("["):
        return _literal(text)
    domain = unicodedata.normalize("NFC", text).lower()
    if len(domain.encode("utf-8", "replace")) > MAX_DOMAIN_OCTETS:
        raise AddressFault("the domain is too long")
    for label in domain.split("."):
        if not _is_label(label):
            raise AddressFault("the domain is malformed")
    return domain


def _is_label(label: str) -> bool:
    if label.isascii():
        return len(label) <= MAX_LABEL_OCTETS and _LABEL.fullmatch(label) is not None
    # U-labels (RFC 5890 §2.3.2.1) consist of letters, marks, digits and hyphens; IDNA's tables belong to DNS.
    return all(character == "-" or unicodedata.category(character)[0] in "LMN" for character in label)


def _literal(text: str) -> str:
    if not text.endswith("]"):
        raise AddressFault("the address literal is malformed")
    inside = text[1:-1]
    try:
        if inside[:5].lower() == "ipv6:":
            return f"[IPv6:{ipaddress.IPv6Address(inside[5:])}]"
        return f"[{ipaddress.IPv4Address(inside)}]"
    except ipaddress.AddressValueError as error:
        raise AddressFault("the address literal is malformed") from error
