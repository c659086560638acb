"""DKIM: whose signatures does a message carry, and do they hold (RFC 6376 §6, RFC 8301, RFC 8463)?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from mail_proto.authentication.content import Content
from mail_proto.authentication.inquiry import Inquiry, Question
from mail_proto.authentication.signature import ALGORITHMS, Signature, header_hash, parse_signature
from mail_proto.authentication.tags import TagFault, base64_value, colon_list, parse_tags

DkimResult = Literal["pass", "fail", "policy", "neutral", "temperror", "permerror"]

# Each costs a look-up and a verification; RFC 6376 §6.1 allows a limit. The topmost count.
MAX_SIGNATURES: Final = 8


class WeakKey(Exception):
    """The key is too short to mean anything (RFC 8301 §3.2)."""


class BadKey(Exception):
    """The octets are no key of that kind."""


# (kind of key, its octets, SHA-256 of what was signed, signature) → whether it holds. Raises WeakKey, BadKey.
CheckSignature: TypeAlias = Callable[[str, bytes, bytes, bytes], bool]


@dataclass(frozen=True, slots=True)
class Dkim:
    """The result of one signature, in the words of RFC 8601 §2.7.1.

    `is_test`: the domain says that it is only trying (t=y); its signatures count as unsigned where they fail.
    """

    result: DkimResult
    domain: str = ""
    selector: str = ""
    algorithm: str = ""
    signature: bytes = b""
    reason: str = ""
    is_test: bool = False


class SignatureFailed(Exception):
    """One signature doesn't hold; the text says why."""

    def __init__(self, result: DkimResult, reason: str) -> None:
        super().__init__(reason)
        self.result: DkimResult = result


def verify(content: Content, now: int, check: CheckSignature) -> Inquiry[list[Dkim]]:
    """Results of the first MAX_SIGNATURES signatures, from the top; none for a message that isn't signed."""
    results = []
    for field in content.named(b"dkim-signature")[:MAX_SIGNATURES]:
        try:
            signature = parse_signature(field)
        except TagFault as fault:
            results.append(Dkim("permerror", reason=str(fault)))
            continue
        try:
            is_test = yield from verify_one(content, signature, now, check)
        except SignatureFailed as failure:
            results.append(_result(signature, failure.result, str(failure)))
        else:
            results.append(_result(signature, "pass", is_test=is_test))
    return results


def _result(signature: Signature, result: DkimResult, reason: str = "", *, is_test: bool = False) -> Dkim:
    return Dkim(result, signature.domain, signature.selector, signature.algorithm, signature.signature, reason, is_test)


def body_hashes(content: Content) -> None:
    """Compute what `verify` will need of the body: the dear part, for a thread of its own where the body is large."""
    for name, is_arc in ((b"dkim-signature", False), (b"arc-message-signature", True)):
        for field in content.named(name)[:MAX_SIGNATURES]:
            try:
                signature = parse_signature(field, is_arc=is_arc)
            except TagFault:
                continue
            content.body_hash(relaxed=signature.relaxed_body, length=signature.length)


def verify_one(content: Content, signature: Signature, now: int, check: CheckSignature) -> Inquiry[bool]:
    """Returns whether the key is a test. Raises SignatureFailed: it doesn't hold, and why."""
    if signature.expiration is not None and signature.expiration < now:
        raise SignatureFailed("fail", "expired")
    _check_body(content, signature)
    key = yield from fetch_key(signature.key_name, signature.algorithm)
    if key.is_strict and signature.identity != signature.domain:
        raise SignatureFailed("permerror", "the key doesn't allow i= below d=")
    check_with(key, header_hash(content, signature), signature.signature, check)
    return key.is_test


def _check_body(content: Content, signature: Signature) -> None:
    """§6.1.3; §8.2: what is appended behind l= would be read as signed."""
    if content.body_hash(relaxed=signature.relaxed_body, length=signature.length) != signature.body_hash:
        raise SignatureFailed("fail", "body hash did not verify")
    if signature.length is None:
        return
    present = content.body_octets(relaxed=signature.relaxed_body)
    if signature.length > present:
        raise SignatureFailed("permerror", "l= is more than there is")
    if signature.length < present:
        raise SignatureFailed("policy", "part of the body isn't signed")


@dataclass(frozen=True, slots=True)
class Key:
    """A public key record (§3.6.1)."""

    kind: str
    octets: bytes
    is_test: bool
    is_strict: bool


def fetch_key(name: str, algorithm: str) -> Inquiry[Key]:
    """Raises SignatureFailed: there is none that can be used (§6.1.2)."""
    answer = yield Question(name, "TXT")
    if answer.failed:
        raise SignatureFailed("temperror", "the DNS doesn't answer")
    if not answer.records:
        raise SignatureFailed("permerror", "no key")
    fault: SignatureFailed | None = None
    for text in answer.records[:MAX_SIGNATURES]:
        try:
            return _parse_key(text, ALGORITHMS[algorithm])
        except TagFault as error:
            fault = fault or SignatureFailed("permerror", str(error))
    raise fault or SignatureFailed("permerror", "no key")


def _parse_key(text: str, kind: str) -> Key:
    tags = parse_tags(text)
    if "v" in tags and (tags["v"] != "DKIM1" or next(iter(tags)) != "v"):
        raise TagFault("unknown version of key")
    if tags.get("k", "rsa").lower() != kind:
        raise TagFault("the key is of another kind")
    if "h" in tags and "sha256" not in colon_list(tags["h"]):
        raise TagFault("the key isn't for SHA-256")
    if {"*", "email"}.isdisjoint(colon_list(tags.get("s", "*"))):
        raise TagFault("the key isn't for mail")
    if "p" not in tags:
        raise TagFault("no key in the record")
    if not tags["p"]:
        raise TagFault("the key was revoked")
    flags = colon_list(tags.get("t", ""))
    return Key(kind, base64_value(tags["p"]), "y" in flags, "s" in flags)


def check_with(key: Key, digest: bytes, signature: bytes, check: CheckSignature) -> None:
    """Raises SignatureFailed."""
    try:
        holds = check(key.kind, key.octets, digest, signature)
    except WeakKey as error:
        raise SignatureFailed("policy", str(error) or "weak key") from error
    except BadKey as error:
        raise SignatureFailed("permerror", str(error) or "bad key") from error
    if not holds:
        raise SignatureFailed("fail", "signature did not verify")
