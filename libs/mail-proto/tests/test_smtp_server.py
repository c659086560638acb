"""The server's side of SMTP without a network: mail data, arguments, replies, trace header."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_proto.smtp import arguments, trace
from mail_proto.smtp.data import DataDecoder, DataState
from mail_proto.smtp.errors import SmtpFault
from mail_proto.smtp.replies import Reply

PIECES = st.lists(st.sampled_from([b".", b"\r\n", b"\n", b"\r", b"a", b"..", b"\x00", b"x" * 50]), max_size=40)


def decoded(octets: bytes, cuts: list[int], limit: int = 10_000) -> DataDecoder:
    decoder = DataDecoder(limit)
    borders = [0, *sorted({cut for cut in cuts if cut < len(octets)}), len(octets)]
    for start, end in pairwise(borders):
        if decoder.state is DataState.READING:
            decoder.feed(octets[start:end])
    return decoder


def stuffed(message: bytes) -> bytes:
    return (b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"


@given(PIECES.map(b"".join), st.lists(st.integers(min_value=0, max_value=400), max_size=10))
def test_what_was_stuffed_comes_back_however_it_is_cut(message: bytes, cuts: list[int]) -> None:
    message = message if message.endswith(b"\r\n") or not message else message + b"\r\n"
    decoder = decoded(stuffed(message), cuts)
    assert decoder.state is DataState.COMPLETE
    assert decoder.message() == message


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r\n\x00.\r\n"])
def test_only_crlf_dot_crlf_ends_the_data(end: bytes) -> None:
    assert decoded(b"Subject: x\r\n\r\nbody" + end, []).state is DataState.READING


def test_what_follows_the_end_is_kept_for_the_next_command() -> None:
    decoder = decoded(b"x\r\n.\r\nQUIT\r\n", [])
    assert (decoder.message(), decoder.rest) == (b"x\r\n", b"QUIT\r\n")


@given(st.lists(st.integers(min_value=0, max_value=600), max_size=10))
def test_too_much_is_dropped_and_the_end_is_still_found(cuts: list[int]) -> None:
    decoder = decoded(b"x" * 500 + b"\r\n.\r\n", cuts, limit=100)
    assert decoder.state is DataState.COMPLETE
    assert decoder.was_dropped
    assert decoder.held_octets < 100


def test_arguments() -> None:
    assert arguments.parse_mail("FROM:<>").reverse_path == ""
    parsed = arguments.parse_mail("from: <A@Example.Test> SIZE=12 BODY=8BITMIME SMTPUTF8")
    assert (parsed.reverse_path, parsed.size_octets, parsed.smtputf8) == ("A@example.test", 12, True)
    assert arguments.parse_rcpt("TO:<@a.test,@b.test:c@d.test>", False).forward_path == "c@d.test"
    assert arguments.parse_rcpt('TO:<"a b"@d.test>', False).forward_path == '"a b"@d.test'
    assert arguments.parse_rcpt("TO:<Postmaster>", False).forward_path == arguments.POSTMASTER


@pytest.mark.parametrize(
    "argument",
    ["", "FROM:", "FROM:a@b", "FROM:<a@b", "FROM:<a>", "FROM:<a@b> SIZE=x", "FROM:<a@b> FOO=1", "FROM:<ü@b.test>",
     "FROM:<a@b> SIZE=1 SIZE=2", "TO:<a@b>"],
)  # fmt: skip
def test_bad_arguments(argument: str) -> None:
    with pytest.raises(SmtpFault):
        arguments.parse_mail(argument)


def test_replies_cannot_be_broken_out_of() -> None:
    assert Reply(250, "2.0.0", "one\ntwo").render() == b"250-2.0.0 one\r\n250 2.0.0 two\r\n"
    assert Reply(550, "5.1.1", "a\rb\x00ü").render() == b"550 5.1.1 a?b??\r\n"


def test_the_trace_header_cannot_be_forged() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    hop = trace.Hop("evil\r\nX: y", "::ffff:192.0.2.1", "mx.test", "ESMTPS", "id1", "a@b.test", at)
    header = trace.received(hop)
    assert header.count(b"\r\n") == header.count(b"\r\n\t") + 1
    assert b"[192.0.2.1]" in header
    assert trace.hops(header * 3 + b"\r\nReceived: in the body") == 3
