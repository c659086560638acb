"""Addresses, SASL, bounces."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import SMTP

import pytest

from mail_proto.addresses import AddressFault, parse_mailbox
from mail_proto.dsn import Notification, RecipientReport, delivery_status_notification
from mail_proto.sasl import SaslFault, decode_response, parse_plain


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a@Example.TEST", "a@example.test"),
        ("a.b+c@x", "a.b+c@x"),
        ('"a b"@x.test', '"a b"@x.test'),
        ('"a"@x.test', "a@x.test"),
        ("ü@münchen.test", "ü@münchen.test"),
        ("a@[192.0.2.1]", "a@[192.0.2.1]"),
        ("a@[IPv6:2001:db8::1]", "a@[IPv6:2001:db8::1]"),
        # What a forwarder makes of a long local part comes back as it went out.
        (f"SRS0=ABCDEF=AB=example.test={'a' * 60}@x.test", f"SRS0=ABCDEF=AB=example.test={'a' * 60}@x.test"),
    ],
)
def test_addresses(text: str, written: str) -> None:
    assert str(parse_mailbox(text)) == written


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "@x",
        "a@",
        "a@@x",
        "a b@x",
        "a..b@x",
        ".a@x",
        "a@-x",
        "a@x..y",
        "a@x\r\n",
        "a@[1.2.3]",
        "a" * 65 + "@x",
        f"SRS0={'a' * 244}@x.test",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(AddressFault):
        parse_mailbox(text)


def test_plain() -> None:
    assert parse_plain(decode_response(b64encode("\0älice\0pass".encode()))) == ("", "älice", "pass")
    for message in (b"", b"a\0b", b"\0\0", b"\0a\0b\0c", b"\0\xff\0b"):
        with pytest.raises(SaslFault):
            parse_plain(message)
    with pytest.raises(SaslFault):
        decode_response(b"not base64!")


def test_a_bounce_is_a_report() -> None:
    original = b"Subject: =?utf-8?q?x?=\r\nX-Long: " + b"y" * 2000 + b"\r\n\r\nsecret body\r\n"
    failures = [
        RecipientReport("a@b.test", "5.1.1", "550 no\r\nsuch user", "mx.b.test"),
        RecipientReport("c@d.test", "4.4.7", "gave up " * 300, ""),
    ]
    now = datetime(2026, 1, 2, tzinfo=UTC)
    told = Notification("mx.test", "me@here.test", failures, original, "<id@mx.test>", now)
    octets = delivery_status_notification(told)
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    assert b"\n" not in octets.replace(b"\r\n", b"")
    assert b"secret body" not in octets
    message = message_from_bytes(octets, policy=SMTP)
    assert message.get_content_type() == "multipart/report"
    assert message["To"] == "me@here.test"
    explanation, status, returned = message.iter_parts()  # type: ignore[attr-defined]
    assert "mx.b.test said: 550 no such user" in explanation.get_content()
    groups = status.get_payload()
    assert groups[1]["Final-Recipient"] == "rfc822; a@b.test"
    assert (groups[1]["Status"], groups[2]["Status"]) == ("5.1.1", "4.4.7")
    assert returned.get_content_type() == "text/rfc822-headers"
