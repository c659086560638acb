"""ARC: what servers on the way say that they saw, and whether nobody changed it since (RFC 8617)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final, Literal

from mail_proto.authentication.content import Content, Field, relaxed_field
from mail_proto.authentication.dkim import CheckSignature, SignatureFailed, check_with, fetch_key, verify_one
from mail_proto.authentication.inquiry import Inquiry
from mail_proto.authentication.signature import ALGORITHMS, domain_tag, parse_signature, without_b
from mail_proto.authentication.tags import TagFault, base64_value, number, parse_tags, required

ArcResult = Literal["none", "pass", "fail", "temperror"]

# RFC 8617 §4.2.1.
MAX_INSTANCES: Final = 50
_NAMES: Final = (b"arc-authentication-results", b"arc-message-signature", b"arc-seal")
_INSTANCE: Final = re.compile(r"[ \t\r\n]*i[ \t\r\n]*=[ \t\r\n]*(\d{1,2})[ \t\r\n]*;")
_DMARC_PASS: Final = re.compile(r";[ \t\r\n]*dmarc[ \t\r\n]*=[ \t\r\n]*pass\b", re.IGNORECASE)


class _Broken(Exception):
    """The chain fails (§5.2)."""


@dataclass(frozen=True, slots=True)
class ArcSet:
    """The three fields of one instance (§4.2)."""

    results: Field
    signature: Field
    seal: Field


@dataclass(frozen=True, slots=True)
class Arc:
    """State of the chain. `sealers`: domains of the seals, the first server's first."""

    result: ArcResult
    sealers: tuple[str, ...] = ()
    sets: tuple[ArcSet, ...] = ()
    reason: str = ""

    def vouches_dmarc(self, trusted: frozenset[str]) -> bool:
        """Whether the last sealer is one of these and the first server saw DMARC pass (§7.2.1 local policy)."""
        if self.result != "pass" or not trusted.issuperset(self.sealers):
            return False
        return _DMARC_PASS.search(self.sets[0].results.value) is not None


def validate(content: Content, now: int, check: CheckSignature) -> Inquiry[Arc]:
    """§5.2. A chain whose DNS doesn't answer is temperror: it may be told later."""
    try:
        sets = arc_sets(content)
        if not sets:
            return Arc("none")
        sealers = tuple([domain_tag(parse_tags(one.seal.value), "d") for one in sets])
        _check_states(sets)
        yield from verify_one(content, parse_signature(sets[-1].signature, is_arc=True), now, check)
        for instance in range(len(sets), 0, -1):
            yield from _check_seal(sets[:instance], check)
    except (_Broken, TagFault) as fault:
        return Arc("fail", reason=str(fault))
    except SignatureFailed as failure:
        return Arc("temperror" if failure.result == "temperror" else "fail", reason=str(failure))
    return Arc("pass", sealers, tuple(sets))


def arc_sets(content: Content) -> list[ArcSet]:
    """Complete sets by instance, from 1. Raises _Broken: not one of each field for each."""
    found: dict[bytes, dict[int, Field]] = {name: {} for name in _NAMES}
    for field in content.fields:
        if field.name not in found:
            continue
        instance = _instance(field)
        if instance in found[field.name] or not 1 <= instance <= MAX_INSTANCES:
            raise _Broken("instances are wrong")
        found[field.name][instance] = field
    numbers = sorted(found[_NAMES[0]])
    if numbers != list(range(1, len(numbers) + 1)) or any(sorted(found[name]) != numbers for name in _NAMES):
        raise _Broken("sets are incomplete")
    return [ArcSet(*(found[name][one] for name in _NAMES)) for one in numbers]


def _instance(field: Field) -> int:
    if field.name == _NAMES[0]:
        # Behind it the value is that of Authentication-Results, no tag-list (§4.1.1).
        stated = _INSTANCE.match(field.value)
        return int(stated[1]) if stated is not None else 0
    return number(parse_tags(field.value), "i") or 0


def _check_states(sets: list[ArcSet]) -> None:
    """cv= is none in the first seal and pass in the others (§4.1.3, §5.2 steps 2 and 3)."""
    for place, one in enumerate(sets):
        tags = parse_tags(one.seal.value)
        if "h" in tags:
            raise _Broken("a seal with h=")
        if required(tags, "cv").lower() != ("pass" if place else "none"):
            raise _Broken("a seal says that the chain failed")


def _check_seal(sets: list[ArcSet], check: CheckSignature) -> Inquiry[None]:
    """The seal of the last of these sets, over all of them (§5.1.1)."""
    tags = parse_tags(sets[-1].seal.value)
    algorithm = required(tags, "a").lower()
    if algorithm not in ALGORITHMS:
        raise _Broken("unknown algorithm of a seal")
    digest = hashlib.sha256()
    for one in sets[:-1]:
        for field in (one.results, one.signature, one.seal):
            digest.update(relaxed_field(field.raw))
    digest.update(relaxed_field(sets[-1].results.raw) + relaxed_field(sets[-1].signature.raw))
    digest.update(relaxed_field(without_b(sets[-1].seal.raw)).removesuffix(b"\r\n"))
    key = yield from fetch_key(f"{domain_tag(tags, 's')}._domainkey.{domain_tag(tags, 'd')}", algorithm)
    check_with(key, digest.digest(), base64_value(required(tags, "b")), check)
