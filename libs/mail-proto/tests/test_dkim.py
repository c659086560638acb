"""DKIM signatures, verified by an implementation that isn't ours (dkimpy), and the forms of RFC 6376."""

from __future__ import annotations

import base64
import hashlib

import dkim
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from mail_proto.authentication.content import relaxed_field
from mail_proto.dkim import Algorithm, Reading, Signer, key_record, record_name
from mail_proto.smtp.client_data import stuffed
from mail_testkit import messages

RSA = rsa.generate_private_key(65537, 2048)
ED25519 = ed25519.Ed25519PrivateKey.generate()
SIGNERS = (Signer("example.test", "r1", "rsa-sha256"), Signer("example.test", "e1", "ed25519-sha256"))


def public(algorithm: Algorithm) -> bytes:
    if algorithm == "ed25519-sha256":
        return ED25519.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return RSA.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


RECORDS = {record_name(s.domain, s.selector) + ".": key_record(s.algorithm, public(s.algorithm)) for s in SIGNERS}


def read(message: bytes, *cuts: int) -> Reading:
    reading = Reading()
    for start, end in zip((0, *cuts), (*cuts, len(message)), strict=True):
        reading.feed(message[start:end])
    reading.end()
    return reading


def signed(message: bytes) -> list[bytes]:
    """The message under each of the two signatures."""
    rsa_field, ed25519_field = read(message).unsigned(SIGNERS, 1_700_000_000)
    first = rsa_field.field(RSA.sign(rsa_field.signed, padding.PKCS1v15(), hashes.SHA256()))
    second = ed25519_field.field(ED25519.sign(ed25519_field.digest))
    return [first + message, second + message]


def dns(name: bytes, timeout: int = 5) -> bytes:
    return RECORDS[name.decode()].encode()


def as_received(message: bytes) -> bytes:
    """What the other side has after DATA."""
    sent = stuffed(message).removesuffix(b".\r\n")
    return (
        sent.removeprefix(b".").replace(b"\r\n.", b"\r\n")
        if sent.startswith(b"..")
        else sent.replace(b"\r\n..", b"\r\n.")
    )


BASE = b"From: Alice <a@example.test>\r\nTo: b@x.test\r\nSubject:  two  words\r\n\tfolded \r\n\r\n"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\r\n",
        b"text",
        b"text \t\r\n\r\n\r\n",
        b" \r\n \r\ntext\r\n",
        b"a  \t b\r\n.dot\r\n\r\nend\r\n \r\n",
        b"bare\nline\rends\n\n",
        b"\r\n\r\n\r\nlate",
    ],
)
def test_signatures_verify_elsewhere(body: bytes) -> None:
    for message in signed(BASE + body):
        assert dkim.verify(as_received(message), dnsfunc=dns)


def test_real_messages_verify_elsewhere() -> None:
    paths = messages.paths()
    verified = 0
    for path in paths[:: max(1, len(paths) // 60)]:
        octets = messages.as_sent(path)
        if read(octets).unsigned(SIGNERS, 0):
            for message in signed(octets):
                assert dkim.verify(as_received(message), dnsfunc=dns), path.name
                verified += 1
    assert verified


def test_what_is_changed_or_added_breaks_it() -> None:
    message = signed(BASE + b"text\r\n")[0]
    assert dkim.verify(message, dnsfunc=dns)
    assert not dkim.verify(message.replace(b"text", b"test"), dnsfunc=dns)
    assert not dkim.verify(message.replace(b"two  words", b"words"), dnsfunc=dns)
    assert not dkim.verify(b"Subject: another\r\n" + message, dnsfunc=dns), (
        "fields are signed once more than they occur"
    )
    assert dkim.verify(b"Received: from x by y\r\n" + message, dnsfunc=dns)


def test_the_canonical_field_of_the_rfc() -> None:
    # RFC 6376 §3.4.5
    assert relaxed_field(b"A: X") == b"a:X\r\n"
    assert relaxed_field(b"B : Y\t\r\n\tZ  ") == b"b:Y Z\r\n"


def test_the_canonical_body_of_the_rfc() -> None:
    # RFC 6376 §3.4.5; the hash of an empty relaxed body, §3.4.4
    def body_hash(body: bytes) -> bytes:
        (field,) = read(b"From: a@b.test\r\n\r\n" + body).unsigned(SIGNERS[:1], 0)
        return field.head.partition(b"bh=")[2].partition(b";")[0]

    assert body_hash(b" C \r\nD \t E\r\n\r\n\r\n") == base64.b64encode(hashlib.sha256(b" C\r\nD E\r\n").digest())
    assert body_hash(b"") == b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


def test_a_message_without_from_is_not_signed() -> None:
    assert read(b"Subject: x\r\n\r\ny\r\n").unsigned(SIGNERS, 0) == []
    assert read(b"").unsigned(SIGNERS, 0) == []


def test_records() -> None:
    # The key of RFC 8463 appendix A.2
    key = base64.b64decode("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
    record = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    assert key_record("ed25519-sha256", key) == record
    assert record_name("football.example.com", "brisbane") == "brisbane._domainkey.football.example.com"


def test_lines_of_the_field_are_short() -> None:
    message = signed(BASE + b"text\r\n")[0]
    field = message[: message.index(b"\r\nFrom:")]
    assert max(len(line) for line in field.split(b"\r\n")) <= 80


@given(
    body=st.lists(st.sampled_from([b"\r\n", b"\n", b"\r", b" ", b"\t", b"a", b".", b"\xff"]), max_size=30).map(
        b"".join
    ),
    cuts=st.lists(st.integers(0, 120), max_size=4),
)
def test_pieces_make_no_difference(body: bytes, cuts: list[int]) -> None:
    message = BASE + body
    inside = sorted(min(cut, len(message)) for cut in cuts)
    whole, cut = read(message), read(message, *inside)
    assert cut.header == whole.header
    assert cut.unsigned(SIGNERS, 0) == whole.unsigned(SIGNERS, 0)
