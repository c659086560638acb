"""One signature of a message: a DKIM-Signature or ARC-Message-Signature field (RFC 6376 §3.5, RFC 8617 §4.1.2)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from mail_proto.authentication.content import Content, Field, relaxed_field, simple_field
from mail_proto.authentication.tags import TagFault, base64_value, colon_list, number, parse_tags, required

# RFC 8301 §3.1: rsa-sha1 is no signature any more. RFC 8463: ed25519-sha256.
ALGORITHMS: Final = {"rsa-sha256": "rsa", "ed25519-sha256": "ed25519"}
_CANONICALIZATION: Final = re.compile(r"(simple|relaxed)(?:/(simple|relaxed))?")
# The value of the first b= tag, with what is around it (§3.7: hashed as if it were empty).
_B_TAG: Final = re.compile(rb"((?:\A[^:]*:|;)[ \t\r\n]*b[ \t\r\n]*=)[^;]*?(?=(?:\r\n)?\Z|;)")


@dataclass(frozen=True, slots=True)
class Signature:
    """What the tags say. `length`: of l=, octets of the canonical body that count."""

    field: Field
    domain: str
    selector: str
    algorithm: str
    signature: bytes
    body_hash: bytes
    signed: tuple[str, ...]
    relaxed_header: bool
    relaxed_body: bool
    length: int | None
    identity: str
    timestamp: int | None
    expiration: int | None

    @property
    def key_name(self) -> str:
        """Where its key is (§3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"


def parse_signature(field: Field, *, is_arc: bool = False) -> Signature:
    """Raises TagFault: it can't be verified (§6.1.1)."""
    tags = parse_tags(field.value)
    if not is_arc and required(tags, "v") != "1":
        raise TagFault("unknown version")
    algorithm = required(tags, "a").lower()
    if algorithm not in ALGORITHMS:
        raise TagFault(f"algorithm {algorithm[:40]} isn't accepted")
    found = _CANONICALIZATION.fullmatch(tags.get("c", "simple/simple").lower())
    if found is None:
        raise TagFault("unknown canonicalization")
    domain = domain_tag(tags, "d")
    signed = tuple(colon_list(required(tags, "h")))
    if "from" not in signed:
        raise TagFault("From isn't signed")
    if is_arc and "arc-seal" in signed:
        raise TagFault("a seal is signed")
    timestamp, expiration = number(tags, "t"), number(tags, "x")
    if timestamp is not None and expiration is not None and expiration <= timestamp:
        raise TagFault("it ends before it begins")
    if "dns/txt" not in colon_list(tags.get("q", "dns/txt")):
        raise TagFault("unknown way to the key")
    return Signature(
        field=field,
        domain=domain,
        selector=domain_tag(tags, "s"),
        algorithm=algorithm,
        signature=base64_value(required(tags, "b")),
        body_hash=base64_value(required(tags, "bh")),
        signed=signed,
        relaxed_header=found[1] == "relaxed",
        relaxed_body=found[2] == "relaxed",
        length=None if is_arc else number(tags, "l"),
        identity=domain if is_arc else _identity(tags, domain),
        timestamp=timestamp,
        expiration=expiration,
    )


def domain_tag(tags: dict[str, str], name: str) -> str:
    """A domain name in lower case. Raises TagFault."""
    domain = required(tags, name).lower()
    try:
        domain = domain if domain.isascii() else domain.encode("latin-1").decode().encode("idna").decode()
    except UnicodeError as error:
        raise TagFault(f"{name}= is no name") from error
    if re.fullmatch(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*", domain) is None or len(domain) > 253:
        raise TagFault(f"{name}= is no name")
    return domain


def _identity(tags: dict[str, str], domain: str) -> str:
    """The domain of i=, which must be d= or below (§3.5)."""
    identity = tags.get("i", "@" + domain).rpartition("@")[2].lower()
    if identity != domain and not identity.endswith("." + domain):
        raise TagFault("i= isn't below d=")
    return identity


def without_b(raw: bytes) -> bytes:
    """The field as it was signed: b= empty."""
    return _B_TAG.sub(rb"\1", raw, count=1)


def header_hash(content: Content, signature: Signature) -> bytes:
    """SHA-256 over the signed fields, taken from the bottom up, and the signature itself (§3.7, §5.4.2)."""
    canonical = relaxed_field if signature.relaxed_header else simple_field
    left: dict[bytes, list[Field]] = {}
    for field in content.fields:
        left.setdefault(field.name, []).append(field)
    digest = hashlib.sha256()
    for name in signature.signed:
        fields = left.get(name.encode("latin-1"))
        if fields:
            digest.update(canonical(fields.pop().raw))
    digest.update(canonical(without_b(signature.field.raw)).removesuffix(b"\r\n"))
    return digest.digest()
