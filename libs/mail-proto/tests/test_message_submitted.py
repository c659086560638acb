"""What submission adds and takes out (RFC 6409 §8), and what is binary put into lines (RFC 3030 §4)."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_proto.message.completing import Submitter, completed
from mail_proto.message.line_based import NotLineBased, line_based
from mail_testkit.messages import as_sent, paths

DATE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ADDED_DATE = b"Date: Fri, 02 Jan 2026 03:04:05 +0000\r\n"
ADDED_ID = b"Message-ID: <1@mx.test>\r\n"
ADDED_FROM = b"From: alice@a.test\r\n"
ADDED_SENDER = b"Sender: alice@a.test\r\n"
ALICE = Submitter("alice@a.test", ["alice@a.test", "Al@a.test"])
WHOLE = b"Date: x\r\nMessage-ID: <y>\r\n"
OWN_SENDER = WHOLE + b"Sender: Al@a.test\r\nFrom: c@a.test\r\n\r\nx"


def sent(message: bytes) -> bytes:
    return completed(message, ALICE, DATE, "1@mx.test").message


@pytest.mark.parametrize(
    ("message", "comes"),
    [
        (WHOLE + b"From: alice@a.test\r\n\r\nx\r\n", WHOLE + b"From: alice@a.test\r\n\r\nx\r\n"),
        (WHOLE + b"FROM: Al <AL@A.test>\r\n\r\nx", WHOLE + b"FROM: Al <AL@A.test>\r\n\r\nx"),
        (b"\r\nx\r\n", ADDED_DATE + ADDED_ID + ADDED_FROM + b"\r\nx\r\n"),
        (b"no header\r\n", ADDED_DATE + ADDED_ID + ADDED_FROM + b"\r\nno header\r\n"),
        (b"", ADDED_DATE + ADDED_ID + ADDED_FROM + b"\r\n"),
        (b"Subject: only\r\n", ADDED_DATE + ADDED_ID + ADDED_FROM + b"Subject: only\r\n"),
        (WHOLE + b"From: bob@a.test\r\n\r\nx", ADDED_SENDER + WHOLE + b"From: bob@a.test\r\n\r\nx"),
        (WHOLE + b"From: bob@a.test, al@a.test\r\n\r\nx", WHOLE + b"From: bob@a.test, al@a.test\r\n\r\nx"),
        (WHOLE + b"Sender: bob@a.test\r\nFrom: c@a.test\r\n\r\nx", ADDED_SENDER + WHOLE + b"From: c@a.test\r\n\r\nx"),
        (OWN_SENDER, OWN_SENDER),
        (WHOLE + b"Sender: bob@a.test\r\nFrom: al@a.test\r\n\r\nx", WHOLE + b"From: al@a.test\r\n\r\nx"),
    ],
)  # fmt: skip
def test_missing_fields_are_added(message: bytes, comes: bytes) -> None:
    assert sent(message) == comes


def test_bcc_is_taken_out_and_kept_for_the_copy() -> None:
    whole = WHOLE + b"From: al@a.test\r\nbcc: x@b.test,\r\n y@b.test\r\nResent-Bcc: z\r\nTo: a\r\n\r\nBcc: stays\r\n"
    found = completed(whole, ALICE, DATE, "1@mx.test")
    assert found.message == WHOLE + b"From: al@a.test\r\nTo: a\r\n\r\nBcc: stays\r\n"
    assert found.blind == b"bcc: x@b.test,\r\n y@b.test\r\nResent-Bcc: z\r\n"


@given(st.binary(max_size=300))
def test_any_octets_are_completed_once(octets: bytes) -> None:
    once = sent(octets)
    assert sent(once) == once


def test_real_messages_keep_what_they_have() -> None:
    for path in paths():
        message = as_sent(path)
        assert sent(message).endswith(message.partition(b"\r\n\r\n")[2])
        assert sent(sent(message)) == sent(message)


BINARY = (
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    b"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: BINARY\r\n\r\n"
    b"Gr\xc3\xbc\xc3\x9fe\r\n"
    b"--b\r\n\r\nplain = same\r\n"
    b"--b\r\nContent-Type: image/x\r\nContent-Transfer-Encoding: binary\r\n\r\n\x00\xff\n\r" + b"x" * 2000 + b"\r\n"
    b"--b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: binary\r\n\r\nSubject: x\r\n\r\na\nb\r\n"
    b"--b--\r\n"
)


def contents(message: bytes) -> list[tuple[str, bytes]]:
    parsed = email.message_from_bytes(message, policy=email.policy.compat32)
    return [(p.get_content_type(), p.get_payload(decode=True)) for p in parsed.walk() if not p.is_multipart()]


def test_binary_parts_become_base64_and_others_stay() -> None:
    converted = line_based(BINARY)
    assert b"\0" not in converted
    assert b"binary" not in converted.lower()
    assert b"Content-Transfer-Encoding: 8bit\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n--b\r\n\r\nplain = same\r\n--b" in converted
    kinds, bodies = zip(*contents(converted), strict=True)
    assert kinds == ("text/plain", "text/plain", "image/x", "text/plain")
    assert bodies[2:] == (b"\x00\xff\n\r" + b"x" * 2000, b"a\nb")


@pytest.mark.parametrize(
    "message", [b"Subject: a\nb\r\n\r\n", BINARY + b"\0", b"Content-Transfer-Encoding: base64\r\n\r\n\0"]
)
def test_what_makes_no_lines(message: bytes) -> None:
    with pytest.raises(NotLineBased):
        line_based(message)


@given(st.binary(max_size=300))
def test_any_body_comes_back(body: bytes) -> None:
    head = b"Content-Type: application/x\r\nContent-Transfer-Encoding: binary\r\n"
    converted = line_based(head + b"\r\n" + body)
    header, _, sent_body = converted.partition(b"\r\n\r\n")
    if b"base64" in header:
        assert header.startswith(b"MIME-Version: 1.0\r\n")
        assert contents(converted) == [("application/x", body)]
    else:
        assert sent_body == body
