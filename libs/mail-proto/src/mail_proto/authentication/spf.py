"""SPF: may this address send for this domain? The function check_host() of RFC 7208 §4.

Explanations (`exp`) are checked for their syntax and not fetched: what is told to clients is our own text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, Literal

from mail_proto.authentication.inquiry import Answer, Inquiry, Question, RecordKind
from mail_proto.authentication.spf_macros import IpAddress, Values, expand, names_client
from mail_proto.authentication.spf_record import Directive, Record, RecordFault, is_spf, parse_record

SpfResult = Literal["none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"]

# RFC 7208 §4.6.4: terms that cause DNS queries, names of one "mx" or "ptr", and look-ups without any answer.
MAX_LOOKUPS: Final = 10
MAX_NAMES: Final = 10
MAX_VOID_LOOKUPS: Final = 2
_RESULTS: Final[dict[str, SpfResult]] = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
_LABEL: Final = re.compile(r"[\x21-\x2d\x2f-\x7e]{1,63}")


class _Ended(Exception):
    """An error ends the evaluation, however deep."""

    def __init__(self, result: SpfResult, reason: str) -> None:
        super().__init__(reason)
        self.result: SpfResult = result


@dataclass(slots=True)
class _Budget:
    """Shared by a record and those that it includes."""

    lookups: int = 0
    voids: int = 0

    def look_up(self) -> None:
        self.lookups += 1
        if self.lookups > MAX_LOOKUPS:
            raise _Ended("permerror", "too many look-ups")

    def count(self, answer: Answer) -> None:
        if answer.failed:
            raise _Ended("temperror", "the DNS doesn't answer")
        if not answer.records:
            self.voids += 1
            if self.voids > MAX_VOID_LOOKUPS:
                raise _Ended("permerror", "too many look-ups without answer")


@dataclass(frozen=True, slots=True)
class Spf:
    """`identity` says which domain was asked: that of MAIL FROM, or of HELO where MAIL FROM is empty (§2.4)."""

    result: SpfResult
    identity: Literal["mailfrom", "helo"]
    domain: str
    reason: str = ""


def check(client: str, helo: str, reverse_path: str) -> Inquiry[Spf]:
    """The result for one transmission. `client` is an IP address, or none; `reverse_path` may be empty."""
    identity: Literal["mailfrom", "helo"] = "mailfrom" if reverse_path else "helo"
    sender = reverse_path or f"postmaster@{helo}"
    local, _, domain = sender.rpartition("@")
    try:
        domain = _ascii(domain)
        address = _address(client)
    except ValueError:  # UnicodeError is one
        return Spf("none", identity, domain, "no domain name or no address of the client")
    values = Values(address, f"{local or 'postmaster'}@{domain}", helo, domain)
    try:
        result = yield from _check_host(values, _Budget())
    except _Ended as ended:
        return Spf(ended.result, identity, domain, str(ended))
    return Spf(result, identity, domain)


def _ascii(domain: str) -> str:
    """A-labels (RFC 7208 §4.3). Raises UnicodeError."""
    if domain.isascii():
        return domain.removesuffix(".")
    return domain.encode("idna").decode("ascii").removesuffix(".")


def _address(text: str) -> IpAddress:
    ip = ip_address(text.partition("%")[0])
    return ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip


def _is_name(domain: str) -> bool:
    """RFC 7208 §4.3: labels of 1 to 63 octets, more than one of them; no address literal."""
    labels = domain.split(".")
    return (
        len(labels) > 1 and len(domain) <= 253 and domain[0] != "[" and all(_LABEL.fullmatch(label) for label in labels)
    )


def _check_host(values: Values, budget: _Budget) -> Inquiry[SpfResult]:
    if not _is_name(values.domain):
        return "none"
    answer = yield Question(values.domain, "TXT")
    if answer.failed:
        raise _Ended("temperror", "the DNS doesn't answer")
    texts = [text for text in answer.records if is_spf(text)]
    if not texts:
        return "none"
    if len(texts) > 1:
        raise _Ended("permerror", "more than one record")
    try:
        record = parse_record(texts[0])
    except RecordFault as fault:
        raise _Ended("permerror", str(fault)) from fault
    return (yield from _evaluate(record, values, budget))


def _evaluate(record: Record, values: Values, budget: _Budget) -> Inquiry[SpfResult]:
    for directive in record.directives:
        if (yield from _matches(directive, values, budget)):
            return _RESULTS[directive.qualifier]
    if record.redirect is None or any(directive.mechanism == "all" for directive in record.directives):
        return "neutral"
    budget.look_up()
    domain = yield from _name(record.redirect, values, budget)
    result = yield from _check_host(replace(values, domain=domain), budget)
    if result == "none":
        raise _Ended("permerror", "redirect leads to no record")
    return result


def _matches(directive: Directive, values: Values, budget: _Budget) -> Inquiry[bool]:
    if directive.mechanism == "all":
        return True
    if directive.network is not None:
        return values.ip in directive.network
    budget.look_up()
    name = values.domain
    if directive.domain:
        name = yield from _name(directive.domain, values, budget)
    match directive.mechanism:
        case "include":
            return (yield from _includes(replace(values, domain=name), budget))
        case "a":
            return (yield from _has_address([name], directive, values.ip, budget))
        case "mx":
            return (yield from _mx(name, directive, values.ip, budget))
        case "ptr":
            names = yield from _validated_names(values.ip, budget)
            return any(_is_within(found, name) for found in names)
        case _:
            # exists asks for A whatever the family of the client (§5.7).
            return bool((yield from _ask(name, "A", budget)))


def _name(domain_spec: str, values: Values, budget: _Budget) -> Inquiry[str]:
    if names_client(domain_spec):
        budget.look_up()
        names = yield from _validated_names(values.ip, budget)
        values = replace(values, validated_name=_preferred(names, values.domain))
    return expand(domain_spec, values)


def _preferred(names: list[str], domain: str) -> str:
    """§7.3: the domain itself, else one below it, else any."""
    ranked = sorted(names, key=lambda name: (name.lower() != domain.lower(), not _is_within(name, domain)))
    return ranked[0] if ranked else "unknown"


def _includes(values: Values, budget: _Budget) -> Inquiry[bool]:
    """§5.2: pass matches, none is an error of the record, errors are handed on."""
    result = yield from _check_host(values, budget)
    if result == "none":
        raise _Ended("permerror", "include of a domain without record")
    return result == "pass"


def _ask(name: str, kind: RecordKind, budget: _Budget) -> Inquiry[tuple[str, ...]]:
    if not _is_name(name):
        # Names that can't be asked for (empty or long labels) don't exist.
        budget.count(Answer())
        return ()
    answer = yield Question(name, kind)
    budget.count(answer)
    return answer.records


def _mx(name: str, directive: Directive, ip: IpAddress, budget: _Budget) -> Inquiry[bool]:
    hosts = yield from _ask(name, "MX", budget)
    if len(hosts) > MAX_NAMES:
        raise _Ended("permerror", "too many mail exchangers")
    return (yield from _has_address(hosts, directive, ip, budget))


def _has_address(names: Iterable[str], directive: Directive, ip: IpAddress, budget: _Budget) -> Inquiry[bool]:
    is_ip4 = isinstance(ip, IPv4Address)
    length = directive.ip4_length if is_ip4 else directive.ip6_length
    network = ip_network((ip, length), strict=False)
    for name in names:
        found = yield from _ask(name, "A" if is_ip4 else "AAAA", budget)
        if any(ip_address(address) in network for address in found):
            return True
    return False


def _validated_names(ip: IpAddress, budget: _Budget) -> Inquiry[list[str]]:
    """Names of the client that lead back to it (§5.5). A failure of DNS means: none."""
    answer = yield Question(ip.reverse_pointer, "PTR")
    if answer.failed:
        return []
    budget.count(answer)
    names = []
    for name in answer.records[:MAX_NAMES]:
        if not _is_name(name):
            continue
        forward = yield Question(name, "A" if isinstance(ip, IPv4Address) else "AAAA")
        if any(ip_address(address) == ip for address in forward.records):
            names.append(name)
    return names


def _is_within(name: str, domain: str) -> bool:
    name, domain = name.lower(), domain.lower()
    return name == domain or name.endswith("." + domain)
