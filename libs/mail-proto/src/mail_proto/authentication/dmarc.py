"""DMARC: does what was authenticated belong to the author, and what does its domain want else (RFC 7489)?"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from mail_proto.authentication.content import Content
from mail_proto.authentication.dkim import Dkim
from mail_proto.authentication.inquiry import Inquiry, Question
from mail_proto.authentication.spf import Spf
from mail_proto.authentication.tags import TagFault, parse_tags
from mail_proto.message.address_list import parse_list
from mail_proto.message.headers import unfold

DmarcResult = Literal["none", "pass", "fail", "temperror", "permerror"]
Policy = Literal["none", "quarantine", "reject"]

_POLICIES: Final[dict[str, Policy]] = {"none": "none", "quarantine": "quarantine", "reject": "reject"}
# What applies to messages that the percentage spares (§6.6.4).
_MILDER: Final[dict[Policy, Policy]] = {"reject": "quarantine", "quarantine": "none", "none": "none"}
_VERSION: Final = re.compile(r"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")

# Domain → the domain that was registered (§3.2); the public suffix list is data of who calls.
Organizational: TypeAlias = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Record:
    """A policy record (§6.3); `domain` is where it was found."""

    domain: str
    policy: Policy
    subdomain_policy: Policy
    strict_dkim: bool
    strict_spf: bool
    percent: int
    reports: str


@dataclass(frozen=True, slots=True)
class Dmarc:
    """`policy` is what the domain asks for with this message: sp= and pct= have been applied."""

    result: DmarcResult
    domain: str = ""
    policy: Policy = "none"
    record: Record | None = None
    spf_aligned: bool = False
    dkim_aligned: bool = False
    reason: str = ""


def author_domain(content: Content) -> str | None:
    """The domain of From, in A-labels. None: not exactly one field, or not one domain (§6.6.1)."""
    fields = content.named(b"from")
    if len(fields) != 1:
        return None
    addresses = parse_list(unfold(fields[0].raw.partition(b":")[2]))
    hosts = {address.host.lower().rstrip(b".") for address in addresses if address.host and address.mailbox}
    if len(hosts) != 1:
        return None
    try:
        return hosts.pop().decode().encode("idna").decode("ascii").lower() or None
    except UnicodeError:
        return None


def evaluate(
    content: Content, spf: Spf, dkim: Sequence[Dkim], organizational: Organizational, chance: int
) -> Inquiry[Dmarc]:
    """§6.6.2. `chance`: a random number from 0 to 99, against which pct= is held."""
    domain = author_domain(content)
    if domain is None:
        return Dmarc("permerror", reason="From must name one domain")
    found = yield from discover(domain, organizational)
    if not isinstance(found, Record):
        return Dmarc(found, domain)
    spf_aligned = spf.result == "pass" and _aligned(spf.domain, domain, found.strict_spf, organizational)
    dkim_aligned = any(
        one.result == "pass" and _aligned(one.domain, domain, found.strict_dkim, organizational) for one in dkim
    )
    if spf_aligned or dkim_aligned:
        return Dmarc("pass", domain, "none", found, spf_aligned, dkim_aligned)
    if spf.result == "temperror" or any(one.result == "temperror" for one in dkim):
        return Dmarc("temperror", domain, "none", found)
    policy = found.policy if found.domain == domain else found.subdomain_policy
    if chance >= found.percent:
        policy = _MILDER[policy]
    return Dmarc("fail", domain, policy, found)


def _aligned(authenticated: str, author: str, strict: bool, organizational: Organizational) -> bool:
    """§3.1."""
    authenticated = authenticated.lower()
    return authenticated == author or (not strict and organizational(authenticated) == organizational(author))


def discover(domain: str, organizational: Organizational) -> Inquiry[Record | Literal["none", "temperror"]]:
    """The record of the domain, or else of its organizational domain (§6.6.3)."""
    for place in dict.fromkeys((domain, organizational(domain))):
        answer = yield Question(f"_dmarc.{place}", "TXT")
        if answer.failed:
            return "temperror"
        texts = [text for text in answer.records if _VERSION.match(text)]
        if len(texts) == 1:
            return _record(place, texts[0]) or "none"
        if texts:
            return "none"
    return "none"


def _record(domain: str, text: str) -> Record | None:
    """None: it says nothing that can be done."""
    try:
        tags = parse_tags(text)
    except TagFault:
        return None
    policy = _POLICIES.get(tags.get("p", "").lower())
    subdomain_policy = _POLICIES.get(tags.get("sp", "").lower(), policy) if "sp" in tags else policy
    if policy is None or subdomain_policy is None:
        # §6.6.3: without a valid policy, a wish for reports means none.
        if not tags.get("rua"):
            return None
        policy = subdomain_policy = "none"
    percent = tags.get("pct", "100")
    return Record(
        domain,
        policy,
        subdomain_policy,
        tags.get("adkim", "r").lower() == "s",
        tags.get("aspf", "r").lower() == "s",
        int(percent) if percent.isascii() and percent.isdigit() and len(percent) <= 3 else 100,
        tags.get("rua", ""),
    )
