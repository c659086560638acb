"""Content-Transfer-Encodings, all at once and in pieces."""

from __future__ import annotations

import pytest

from mail_proto.message.transfer import Decoder, decoded, decoded_length


@pytest.mark.parametrize(
    ("encoded", "plain"),
    [
        # RFC 2045 §6.7, rule 3: white space at the end of a line was added on the way, behind a soft break as well.
        (b"one \t\r\ntwo", b"one\r\ntwo"),
        (b"one=20 \r\ntwo=09", b"one \r\ntwo\t"),
        (b"one= \t\r\n two", b"one two"),
        (b"one \n two= \nthree  ", b"one\n twothree"),
        (b"one=\r\ntwo", b"onetwo"),
    ],
)
def test_quoted_printable(encoded: bytes, plain: bytes) -> None:
    assert decoded(encoded, "quoted-printable") == plain
    assert decoded_length(encoded, 0, len(encoded), "quoted-printable") == len(plain)
    for at in range(len(encoded)):
        decoder = Decoder("quoted-printable")
        assert decoder.add(encoded[:at]) + decoder.add(encoded[at:]) + decoder.end() == plain


def test_a_line_of_white_space_takes_linear_time() -> None:
    assert decoded(b" " * 5_000_000 + b"x", "quoted-printable").endswith(b"x")
