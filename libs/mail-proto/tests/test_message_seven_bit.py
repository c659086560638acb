"""Messages for servers without 8BITMIME (RFC 6152 §3)."""

from __future__ import annotations

import email
import email.policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_proto.message.seven_bit import NotConvertible, seven_bit
from mail_testkit.messages import as_sent, paths


def contents(message: bytes) -> list[tuple[str, bytes]]:
    """(type, decoded body) of each leaf, by Python's parser."""
    parsed = email.message_from_bytes(message, policy=email.policy.compat32)
    return [
        (part.get_content_type(), part.get_payload(decode=True)) for part in parsed.walk() if not part.is_multipart()
    ]


NESTED = (
    "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    "--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding:\r\n 8bit\r\n\r\nGrüße =\r\n"
    "--b\r\n\r\nplain = same\r\n"
    "--b\r\nContent-Type: image/x\r\n\r\nä\x00\r\n"
    "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\nö\r\n"
    "--b--\r\n"
).encode()


def test_parts_are_encoded_each_in_its_way() -> None:
    converted = seven_bit(NESTED)
    assert converted.isascii()
    assert contents(converted) == contents(NESTED)
    assert b"plain = same" in converted
    assert b"Content-Transfer-Encoding: 7bit\r\n\r\n--b" in converted


def test_a_message_without_mime_becomes_one() -> None:
    converted = seven_bit("Subject: x\r\n\r\nä\r\n".encode())
    assert b"MIME-Version: 1.0\r\n" in converted
    assert contents(converted) == [("text/plain", "ä\r\n".encode())]


@pytest.mark.parametrize(
    "message",
    ["Subject: ä\r\n\r\nx", "Content-Transfer-Encoding: base64\r\n\r\nä", NESTED.decode() + "epilogue ä"],
)
def test_what_cant_be_converted(message: str) -> None:
    with pytest.raises(NotConvertible):
        seven_bit(message.encode())


@given(st.text(max_size=300))
def test_any_text_comes_back(text: str) -> None:
    body = ("ä" + text).replace("\r", "").replace("\n", "\r\n").encode("utf-8", "replace")
    message = b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + body
    assert contents(seven_bit(message)) == [("text/plain", body)]


def test_real_messages_keep_their_contents() -> None:
    for path in paths()[::7]:
        message = as_sent(path)
        try:
            converted = seven_bit(message)
        except NotConvertible:
            continue
        assert contents(converted) == contents(message), path
