"""DKIM and ARC: examples of the RFCs, and the same verdicts as dkimpy on real messages, whole and damaged."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Final

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from mail_proto.authentication import arc
from mail_proto.authentication.content import Content, relaxed_body, relaxed_field, simple_body
from mail_proto.authentication.dkim import Dkim, body_hashes, verify
from mail_proto.authentication.inquiry import Answer, Question, concluded
from mail_proto.authentication.signature import parse_signature
from mail_testkit.messages import as_sent, paths
from smtp_in.checks.keys import check_signature

NOW: Final = 1_800_000_000
# RFC 8463 appendix A
RFC8463_KEYS: Final = {
    "brisbane._domainkey.football.example.com": ("v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="),
    "test._domainkey.football.example.com": (
        "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWR"
        "iGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutAC"
        "DfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3"
        "Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
    ),
}
RFC8463_MESSAGE: Final = b"""\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
""".replace(b"\n", b"\r\n")


class Signer:
    """Two keys in a zone of their own."""

    def __init__(self) -> None:
        self.rsa: RSAPrivateKey = generate_private_key(65537, 1024)
        self.ed25519 = Ed25519PrivateKey.generate()
        self.rsa_pem = self.rsa.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        self.ed25519_text = base64.b64encode(self.ed25519.private_bytes_raw())
        rsa_public = self.rsa.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        ed25519_public = self.ed25519.public_key().public_bytes_raw()
        self.zone = {
            "r._domainkey.example.com": f"v=DKIM1; p={base64.b64encode(rsa_public).decode()}",
            "e._domainkey.example.com": f"v=DKIM1; k=ed25519; p={base64.b64encode(ed25519_public).decode()}",
        }

    def txt(self, name: bytes, timeout: int = 5) -> bytes | None:
        """As dkimpy asks."""
        text = self.zone.get(name.decode().removesuffix("."))
        return text.encode() if text is not None else None


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer()


def verdicts(message: bytes, zone: dict[str, str], *, failing: bool = False, now: int = NOW) -> list[Dkim]:
    def answer(question: Question) -> Answer:
        text = zone.get(question.name)
        return Answer((text,) if text is not None else (), failing)

    return concluded(verify(Content(message), now, check_signature), answer)


def results(message: bytes, zone: dict[str, str], **options: int) -> list[str]:
    return [one.result for one in verdicts(message, zone, **options)]


def test_rfc8463_example() -> None:
    found = verdicts(RFC8463_MESSAGE, RFC8463_KEYS)
    assert [(one.result, one.algorithm) for one in found] == [("pass", "ed25519-sha256"), ("pass", "rsa-sha256")]
    assert results(RFC8463_MESSAGE.replace(b"hungry", b"thirsty"), RFC8463_KEYS) == ["fail", "fail"]
    assert results(RFC8463_MESSAGE.replace(b"dinner ", b"lunch "), RFC8463_KEYS) == ["fail", "fail"]
    # §5.4: h= names From twice, so that nobody can add one.
    assert results(b"From: a@evil.test\r\n" + RFC8463_MESSAGE, RFC8463_KEYS) == ["fail", "fail"]
    assert results(RFC8463_MESSAGE, {}) == ["permerror", "permerror"]
    assert results(RFC8463_MESSAGE, RFC8463_KEYS, failing=True) == ["temperror", "temperror"]


@pytest.mark.parametrize(
    ("key", "result"),
    [
        ("v=DKIM1; k=ed25519; p=", "permerror"),  # revoked
        ("v=DKIM1; k=rsa; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", "permerror"),
        ("v=DKIM1; k=ed25519; s=other; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", "permerror"),
        ("v=DKIM1; k=ed25519; h=sha1; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", "permerror"),
        ("v=DKIM2; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", "permerror"),
        ("k=ed25519; t=y:s; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=;", "pass"),
        ("k=ed25519; p=AAAA", "permerror"),
        ("nonsense", "permerror"),
    ],
)
def test_key_records(key: str, result: str) -> None:
    """RFC 6376 §3.6.1."""
    assert results(RFC8463_MESSAGE, {"brisbane._domainkey.football.example.com": key})[0] == result


def test_a_short_key_means_nothing() -> None:
    """RFC 8301 §3.2."""
    short = generate_private_key(65537, 1024).public_key()
    der = short.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    zone = {"test._domainkey.football.example.com": f"p={base64.b64encode(der).decode()}"}
    assert results(RFC8463_MESSAGE, zone)[1] == "fail"
    weak = "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAJ1dNl0l1Xl4N6mAZ1m0b6t1cS9sYk7pV5Wm0xk1z8mJk0rYV1c1m0b6t1cS9sYk7pV5Wm0xk1z8mJk0rYV1c1ECAwEAAQ=="  # noqa: E501
    assert results(RFC8463_MESSAGE, {"test._domainkey.football.example.com": f"p={weak}"})[1] == "policy"


def test_canonical_forms() -> None:
    """RFC 6376 §3.4.5."""
    assert relaxed_field(b"A: X\r\n") == b"a:X\r\n"
    assert relaxed_field(b"B : Y\t\r\n\tZ  \r\n") == b"b:Y Z\r\n"
    body = b" C \r\nD \t E\r\n\r\n\r\n"
    assert relaxed_body(body) == b" C\r\nD E\r\n"
    assert simple_body(body) == b" C \r\nD \t E\r\n"
    # §3.4.3, §3.4.4: the empty body, and one without a line end
    assert (simple_body(b""), relaxed_body(b"")) == (b"\r\n", b"")
    assert (simple_body(b"x"), relaxed_body(b"x ")) == (b"x\r\n", b"x\r\n")
    assert relaxed_body(b" \r\n\t\r\n") == b""


@given(st.binary(max_size=200), st.binary(max_size=400))
def test_any_octets_give_results(tags: bytes, rest: bytes) -> None:
    message = b"DKIM-Signature:" + tags + b"\r\nARC-Seal:" + tags + b"\r\n" + rest
    body_hashes(Content(message))
    assert all(one.result in {"permerror", "fail", "policy"} for one in verdicts(message, {}))
    concluded(arc.validate(Content(message), NOW, check_signature), lambda question: Answer())


CANONICAL: Final = [(h, b) for h in (b"simple", b"relaxed") for b in (b"simple", b"relaxed")]


def dkimpy_agrees(message: bytes, signer: Signer) -> bool:
    try:
        return bool(dkim.verify(message, dnsfunc=signer.txt, minkey=1024))
    except dkim.DKIMException:
        return False


@pytest.mark.parametrize(
    "path", [path for path in paths()[::7] if b"\nFrom:" in path.read_bytes()], ids=lambda p: p.name
)
def test_dkimpy_signs_and_agrees(path: Path, signer: Signer) -> None:
    """Real messages, each signed in one of the forms, then damaged in one place."""
    message = as_sent(path)
    form = CANONICAL[len(message) % 4]
    try:
        if len(message) % 2:
            made = dkim.sign(message, b"r", b"example.com", signer.rsa_pem, canonicalize=form)
        else:
            made = dkim.sign(
                message,
                b"e",
                b"example.com",
                signer.ed25519_text,
                canonicalize=form,
                signature_algorithm=b"ed25519-sha256",
            )
    except dkim.MessageFormatError:
        pytest.skip("dkimpy can't read it")
    signed = made + message
    assert results(signed, signer.zone)[0] == "pass"
    assert dkimpy_agrees(signed, signer)
    for damaged in (signed + b"x\r\n", signed + b"\r\n \r\n", signed.replace(b"\nFrom:", b"\nFrom: x", 1)):
        assert (results(damaged, signer.zone)[0] == "pass") == dkimpy_agrees(damaged, signer)


MESSAGE: Final = b"From: a@example.com\r\nTo: b@example.net\r\nSubject: x\r\n\r\nfirst\r\n"


def test_length_and_expiry(signer: Signer) -> None:
    """RFC 6376 §3.5; §8.2: what is appended to a partly signed body isn't the signer's."""
    part = dkim.sign(MESSAGE, b"r", b"example.com", signer.rsa_pem, length=True)
    assert results(part + MESSAGE, signer.zone) == ["pass"]
    assert results(part + MESSAGE + b"appended\r\n", signer.zone) == ["policy"]
    assert results(part + MESSAGE[:-3], signer.zone) == ["fail"]
    expiring = RFC8463_MESSAGE.replace(b"t=1528637909;", b"t=1528637909; x=1528637910;")
    assert [one.reason for one in verdicts(expiring, RFC8463_KEYS, now=1528637911)] == ["expired", "expired"]


@pytest.mark.parametrize(
    "change",
    [
        (b"a=ed25519-sha256", b"a=rsa-sha1"),
        (b"v=1;", b"v=2;"),
        (b"h=from : to :", b"h=to :"),
        (b"i=@football.example.com", b"i=@example.com"),
        (b"s=brisbane", b"s=bris bane"),
        (b"d=football.example.com;", b"d=;"),
        (b"bh=2jUS", b"bh=#"),
        (b"c=relaxed/relaxed", b"c=loose"),
        (b"q=dns/txt", b"q=http"),
        (b"t=1528637909", b"t=soon"),
        (b"t=1528637909", b"t=5; x=4"),
    ],
)
def test_signatures_that_cannot_be_verified(change: tuple[bytes, bytes]) -> None:
    """RFC 6376 §6.1.1."""
    assert b" : from : subject" in RFC8463_MESSAGE
    message = RFC8463_MESSAGE.replace(b" : from : subject : date", b"", 1).replace(*change, 1)
    assert results(message, RFC8463_KEYS)[0] == "permerror"


def sealed(message: bytes, signer: Signer, state: bytes = b"dmarc=pass header.from=example.com") -> bytes:
    """The message as the next server would hand it on."""
    marked = (
        b"Authentication-Results: relay.example; arc=%s; " % (b"pass" if b"ARC-Seal" in message else b"none")
        + state
        + b"\r\n"
        + message
    )
    fields = dkim.arc_sign(marked, b"r", b"example.com", signer.rsa_pem, b"relay.example", linesep=b"\r\n")
    assert fields
    return b"".join(fields) + message


def chain(message: bytes, signer: Signer, *, failing: bool = False) -> arc.Arc:
    def answer(question: Question) -> Answer:
        text = signer.zone.get(question.name)
        return Answer((text,) if text is not None else (), failing)

    return concluded(arc.validate(Content(message), NOW, check_signature), answer)


def test_chains(signer: Signer) -> None:
    assert chain(MESSAGE, signer).result == "none"
    once = sealed(MESSAGE, signer)
    twice = sealed(once, signer)
    for message, length in ((once, 1), (twice, 2)):
        found = chain(message, signer)
        assert (found.result, found.sealers) == ("pass", ("example.com",) * length), found.reason
        assert dkim.arc_verify(message, dnsfunc=signer.txt, minkey=1024)[0] == b"pass"
        assert found.vouches_dmarc(frozenset({"example.com"}))
        assert not found.vouches_dmarc(frozenset({"example.net"}))
    assert chain(twice, signer, failing=True).result == "temperror"


@pytest.mark.parametrize(
    "change",
    [
        (b"first", b"second"),
        (b"dmarc=pass", b"dmarc=fail"),
        (b"cv=none", b"cv=pass"),
        (b"ARC-Seal: i=2", b"ARC-Seal: i=3"),
        (b"ARC-Authentication-Results: i=1", b"X-Results: i=1"),
        (b"Subject: x", b"Subject: y"),
    ],
)
def test_broken_chains(change: tuple[bytes, bytes], signer: Signer) -> None:
    twice = sealed(sealed(MESSAGE, signer), signer)
    broken = twice.replace(*change)
    assert broken != twice
    assert chain(broken, signer).result == "fail"
    assert dkim.arc_verify(broken, dnsfunc=signer.txt, minkey=1024)[0] != b"pass"


def test_bodies_of_signed_mail_are_as_they_were_hashed() -> None:
    """Mail that the corpus got from its list servers as it was signed; the keys are long gone, the hashes hold."""
    signatures = []
    for path in paths():
        content = Content(as_sent(path))
        for field in content.named(b"dkim-signature"):
            if b"sha256" in field.raw:
                signature = parse_signature(field)
                found = content.body_hash(relaxed=signature.relaxed_body, length=signature.length)
                signatures.append(found == signature.body_hash)
    if not signatures:
        pytest.skip("the corpus isn't here")
    assert sum(signatures) >= len(signatures) * 0.99
