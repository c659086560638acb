"""Signing by DKIM: canonical forms, what is signed, and the fields and DNS records made of it (RFC 6376, RFC 8463).

Keys stay outside: `Reading.unsigned` says what to sign, `Unsigned.field` takes the signature. Always relaxed/relaxed,
SHA-256 (RFC 8301 §3.1), the whole body, and no l= tag, with which anybody could append (RFC 6376 §8.2).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from mail_proto.authentication.content import relaxed_field, relaxed_lines
from mail_proto.message.headers import lines
from mail_proto.smtp.client_data import crlf_ended

Algorithm = Literal["rsa-sha256", "ed25519-sha256"]

# Fields whose change would change what the reader sees or where answers go (RFC 6376 §5.4.1), those of lists
# among them. Where they stand more than once all are signed.
SIGNED_FIELDS: Final = (
    *(b"from", b"sender", b"reply-to", b"subject", b"date", b"message-id", b"to", b"cc"),
    *(b"in-reply-to", b"references", b"mime-version", b"content-type", b"content-transfer-encoding"),
    *(b"content-disposition", b"content-description", b"list-id", b"list-help", b"list-unsubscribe"),
    *(b"list-unsubscribe-post", b"list-subscribe", b"list-post", b"list-owner", b"list-archive", b"autocrypt"),
)
# Named once more than they occur: nobody can add another one on top (RFC 6376 §5.4.2, §8.15).
OVERSIGNED_FIELDS: Final = frozenset({b"from", b"subject", b"date", b"to", b"cc", b"reply-to", b"content-type"})

# Octets of a line of ours that folds; RFC 5322 §2.1.1 wants 78.
_LINE_OCTETS: Final = 72


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs: the domain (d=, an A-label), the selector, and what kind of key."""

    domain: str
    selector: str
    algorithm: Algorithm


@dataclass(frozen=True, slots=True)
class Unsigned:
    """A DKIM-Signature field without its signature.

    `signed` are the octets to sign: with PKCS#1 v1.5 and SHA-256 for RSA (RFC 8017 §8.2); for Ed25519 their SHA-256
    `digest` is what is signed (RFC 8463 §3).
    """

    head: bytes
    signed: bytes

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.signed).digest()

    def field(self, signature: bytes) -> bytes:
        """The whole field, with CRLF, to be put on top of the message."""
        return self.head + _folded(base64.b64encode(signature)) + b"\r\n"


class Reading:
    """A message on its way through, in pieces of any size; only its header is kept.

    Bare CR and LF count as the CRLF that they are sent as (`smtp.client_data.stuffed`).
    """

    def __init__(self) -> None:
        self._header = bytearray()
        self._in_header = True
        self._pending = b""
        self._body = _BodyHash()

    def feed(self, octets: bytes) -> None:
        """The next piece. Call `end` after the last one."""
        end = octets.rfind(b"\n") + 1
        if not end:
            self._pending += octets
            return
        whole, self._pending = self._pending + octets[:end], octets[end:]
        self._lines(crlf_ended(whole))

    def end(self) -> None:
        """There is no more."""
        if self._pending:
            last = crlf_ended(self._pending)
            self._lines(last if last.endswith(b"\r\n") else last + b"\r\n")
            self._pending = b""

    def _lines(self, whole: bytes) -> None:
        if not self._in_header:
            self._body.feed(whole)
            return
        seen = max(len(self._header) - 2, 0)
        self._header += whole
        end = 0 if self._header.startswith(b"\r\n") else self._header.find(b"\r\n\r\n", seen) + 2
        if end != 1:
            self._in_header = False
            self._body.feed(bytes(self._header[end + 2 :]))
            del self._header[end:]

    @property
    def header(self) -> bytes:
        """Without the empty line."""
        return bytes(self._header)

    def unsigned(self, signers: Sequence[Signer], now_s: int) -> list[Unsigned]:
        """One field for each signer; none for a message without From, which can't be signed (RFC 6376 §5.4)."""
        fields = _fields(self.header)
        if not any(name == b"from" for name, _ in fields):
            return []
        names = _names(fields)
        header = b"".join(relaxed_field(field) for field in _chosen(fields, names))
        body_hash = base64.b64encode(self._body.digest())
        return [_unsigned(b"DKIM-Signature", _tags(signer, now_s), names, header, body_hash) for signer in signers]

    def unsigned_field(self, name: bytes, first_tags: str, second_tags: str, added: bytes) -> Unsigned | None:
        """A field made as a DKIM-Signature is, with other tags, of the message with the fields `added` on top.

        DKIM signatures are signed too (RFC 8617 §4.1.2). None: the message has no From.
        """
        fields = _fields(added + self.header)
        if not any(found == b"from" for found, _ in fields):
            return None
        names = [*_names(fields), *(found for found, _ in fields if found == b"dkim-signature")]
        header = b"".join(relaxed_field(field) for field in _chosen(fields, names))
        body_hash = base64.b64encode(self._body.digest())
        return _unsigned(name, (first_tags, second_tags), names, header, body_hash)


class _BodyHash:
    """SHA-256 of a body in the relaxed form (RFC 6376 §3.4.4), which comes in whole lines.

    Runs of white space are one space, none stands at ends of lines, empty lines at the end don't count.
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._empty_lines = 0

    def feed(self, whole: bytes) -> None:
        if not whole:
            return
        canonical = relaxed_lines(whole)
        end = len(canonical)
        while end >= 4 and canonical[end - 4 : end] == b"\r\n\r\n":
            end -= 2
        if canonical[:end] == b"\r\n":
            self._empty_lines += len(canonical) // 2
            return
        self._digest.update(b"\r\n" * self._empty_lines + canonical[:end])
        self._empty_lines = (len(canonical) - end) // 2

    def digest(self) -> bytes:
        return self._digest.digest()


def _tags(signer: Signer, now_s: int) -> tuple[str, str]:
    return (
        f"v=1; a={signer.algorithm}; c=relaxed/relaxed; d={signer.domain};",
        f"s={signer.selector}; t={now_s};",
    )


def signature_field(name: bytes, tags: Sequence[str]) -> bytes:
    """A field with these tags, a line for each, up to where the signature goes."""
    return name + b": " + b"\r\n\t".join([*(tag.encode() for tag in tags), b"b="])


def _unsigned(name: bytes, tags: Sequence[str], names: Sequence[bytes], header: bytes, body_hash: bytes) -> Unsigned:
    signed = f"h={_folded_names(names).decode()};", f"bh={body_hash.decode()};"
    head = signature_field(name, [*tags, *signed])
    return Unsigned(head, header + relaxed_field(head).removesuffix(b"\r\n"))


def _fields(header: bytes) -> list[tuple[bytes, bytes]]:
    """(name in lower case, raw field without its CRLF), from the top."""
    return [
        (line.name.strip().lower(), header[line.start : line.end].removesuffix(b"\r\n"))
        for line in lines(header)
        if line.name
    ]


def _names(fields: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    """h=: each name as often as it occurs, some once more."""
    occurring = [name for name, _ in fields]
    names: list[bytes] = []
    for name in SIGNED_FIELDS:
        names += [name] * (occurring.count(name) + (name in OVERSIGNED_FIELDS))
    return names


def _chosen(fields: Sequence[tuple[bytes, bytes]], names: Sequence[bytes]) -> list[bytes]:
    """The fields that h= means: of those with one name the lowest first; none for a name too many (§5.4.2)."""
    left: dict[bytes, list[bytes]] = {}
    for name, raw in fields:
        left.setdefault(name, []).append(raw)
    return [left[name].pop() for name in names if left.get(name)]


def _folded_names(names: Sequence[bytes]) -> bytes:
    """Folded between names only."""
    folded, length = b"", 0
    for number, name in enumerate(names):
        piece = name if number == 0 else b":" + name
        if length + len(piece) > _LINE_OCTETS:
            folded, length = folded + b"\r\n\t ", 0
        folded, length = folded + piece, length + len(piece)
    return folded


def _folded(encoded: bytes) -> bytes:
    pieces = [encoded[at : at + _LINE_OCTETS] for at in range(0, len(encoded), _LINE_OCTETS)]
    return b"\r\n\t ".join(pieces)


def key_record(algorithm: Algorithm, public_key: bytes) -> str:
    """The text of the TXT record at `<selector>._domainkey.<domain>` (RFC 6376 §3.6.1, RFC 8463 §4).

    `public_key`: SubjectPublicKeyInfo (DER) for RSA, the 32 octets themselves for Ed25519. In a zone file it is to be
    cut into strings of at most 255 octets.
    """
    kind = algorithm.partition("-")[0]
    return f"v=DKIM1; k={kind}; p={base64.b64encode(public_key).decode()}"


def record_name(domain: str, selector: str) -> str:
    """Where the record stands (RFC 6376 §3.6.2.1)."""
    return f"{selector}._domainkey.{domain}"
