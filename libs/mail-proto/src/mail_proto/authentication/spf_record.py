"""The text of an SPF record (RFC 7208 §4.6, §5, §6, §12).

record           = version terms *SP            version = "v=spf1"
terms            = *( 1*SP ( directive / modifier ) )
directive        = [ qualifier ] mechanism      qualifier = "+" / "-" / "?" / "~"
mechanism        = all / include / a / mx / ptr / ip4 / ip6 / exists
modifier         = redirect / explanation / unknown-modifier
a                = "a" [ ":" domain-spec ] [ dual-cidr-length ]
dual-cidr-length = [ ip4-cidr-length ] [ "/" ip6-cidr-length ]
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from mail_proto.authentication.spf_macros import MacroFault, check_domain_spec, check_macro_string

Network = IPv4Network | IPv6Network

_VERSION: Final = re.compile(r"v=spf1(?: |\Z)", re.IGNORECASE)
_DIRECTIVE: Final = re.compile(
    r"([-+?~]?)(all|include|a|mx|ptr|ip4|ip6|exists)(?=[:/]|\Z)(.*)", re.IGNORECASE | re.DOTALL
)
# name = ALPHA *( ALPHA / DIGIT / "-" / "_" / "." )
_MODIFIER: Final = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)=(.*)", re.DOTALL)
# A "/" inside of a domain-spec stands in macros only: the lengths are at the end.
_DUAL_CIDR: Final = re.compile(r"(.*?)(?:/(0|[1-9]\d?))?(?://(0|[1-9]\d{0,2}))?", re.DOTALL)
_TAKES_DOMAIN: Final = frozenset({"include", "exists"})


class RecordFault(Exception):
    """The record breaks the grammar: the result is permerror (RFC 7208 §4.6)."""


@dataclass(frozen=True, slots=True)
class Directive:
    """`domain` is a domain-spec, empty: the current domain. `network`: of ip4 and ip6."""

    qualifier: str
    mechanism: str
    domain: str = ""
    ip4_length: int = 32
    ip6_length: int = 128
    network: Network | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """Directives in their order; `redirect` is a domain-spec."""

    directives: tuple[Directive, ...]
    redirect: str | None = None


def is_spf(text: str) -> bool:
    """Whether a TXT record is one of SPF's (RFC 7208 §4.5)."""
    return _VERSION.match(text) is not None


def parse_record(text: str) -> Record:
    """Raises RecordFault: syntax anywhere in it."""
    directives: list[Directive] = []
    modifiers: dict[str, str] = {}
    for term in text[len("v=spf1") :].split(" "):
        if not term:
            continue
        if not (term.isascii() and term.isprintable()):
            raise RecordFault("characters that no term has")
        if (found := _DIRECTIVE.fullmatch(term)) is not None:
            directives.append(_directive(found[1] or "+", found[2].lower(), found[3]))
        elif (found := _MODIFIER.fullmatch(term)) is not None:
            _add_modifier(modifiers, found[1].lower(), found[2])
        else:
            raise RecordFault(f"unknown term {term[:40]!r}")
    return Record(tuple(directives), modifiers.get("redirect"))


def _add_modifier(modifiers: dict[str, str], name: str, value: str) -> None:
    """redirect and exp stand once at most (RFC 7208 §6); others are ignored, though their syntax counts."""
    try:
        if name not in {"redirect", "exp"}:
            check_macro_string(value)
            return
        check_domain_spec(value)
    except MacroFault as fault:
        raise RecordFault(str(fault)) from fault
    if name in modifiers:
        raise RecordFault(f"{name} twice")
    modifiers[name] = value


def _directive(qualifier: str, mechanism: str, rest: str) -> Directive:
    if mechanism == "all":
        if rest:
            raise RecordFault("all takes nothing")
        return Directive(qualifier, mechanism)
    if mechanism in {"ip4", "ip6"}:
        return Directive(qualifier, mechanism, network=_network(mechanism, rest))
    domain, ip4_length, ip6_length = rest, 32, 128
    if mechanism in {"a", "mx"}:
        domain, ip4_length, ip6_length = _dual_cidr(rest)
    if domain == ":" or (domain and not domain.startswith(":")) or (not domain and mechanism in _TAKES_DOMAIN):
        raise RecordFault(f"{mechanism} without domain")
    try:
        if domain:
            check_domain_spec(domain[1:])
    except MacroFault as fault:
        raise RecordFault(str(fault)) from fault
    return Directive(qualifier, mechanism, domain[1:], ip4_length, ip6_length)


def _dual_cidr(text: str) -> tuple[str, int, int]:
    found = _DUAL_CIDR.fullmatch(text)
    if found is None:
        raise RecordFault("bad prefix length")
    ip4_length = int(found[2]) if found[2] is not None else 32
    ip6_length = int(found[3]) if found[3] is not None else 128
    if ip4_length > 32 or ip6_length > 128:
        raise RecordFault("prefix length out of range")
    return found[1], ip4_length, ip6_length


def _network(mechanism: str, rest: str) -> Network:
    """ip4 = "ip4" ":" ip4-network [ "/" length ]; host bits may be set."""
    address, slash, length = rest[1:].partition("/")
    bits = 32 if mechanism == "ip4" else 128
    if not rest.startswith(":") or (slash and not re.fullmatch(r"0|[1-9]\d{0,2}", length)):
        raise RecordFault(f"bad {mechanism} network")
    prefix = int(length) if slash else bits
    if prefix > bits or "%" in address:
        raise RecordFault(f"bad {mechanism} network")
    try:
        if mechanism == "ip4":
            return IPv4Network((IPv4Address(address), prefix), strict=False)
        return IPv6Network((IPv6Address(address), prefix), strict=False)
    except AddressValueError as error:
        raise RecordFault(f"bad {mechanism} address") from error
