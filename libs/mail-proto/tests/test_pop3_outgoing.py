"""Messages on their way out of POP3: byte-stuffing and TOP, in any pieces."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_proto.pop3.outgoing import Outgoing, whole

MESSAGES = st.lists(st.sampled_from([b".", b"\r\n", b"\n", b"\r", b"a", b"..", b"\x00", b"\r\n\r\n"]), max_size=30)


def unstuffed(sent: bytes) -> bytes:
    """As a client that takes LF for the end of lines reads it."""
    assert sent.endswith(b".\r\n")
    lines = sent[:-3].split(b"\n")
    assert b"." not in [line.rstrip(b"\r") for line in lines], "a client that splits at LF would end here"
    return b"\n".join(line[1:] if line.startswith(b".") else line for line in lines)


@given(MESSAGES.map(b"".join))
def test_stuffing_comes_back(octets: bytes) -> None:
    expected = octets if not octets or octets.endswith(b"\r\n") else octets + b"\r\n"
    assert unstuffed(whole(octets)) == expected


@given(MESSAGES.map(b"".join), st.none() | st.integers(0, 4), st.sets(st.integers(1, 60), max_size=9))
def test_cutting_changes_nothing(octets: bytes, lines: int | None, cuts: set[int]) -> None:
    borders = [0, *sorted(cut for cut in cuts if cut < len(octets)), len(octets)]
    outgoing = Outgoing(lines)
    sent = b"".join(outgoing.feed(octets[start:end]) for start, end in pairwise(borders))
    assert sent + outgoing.finish() == whole(octets, lines)


@pytest.mark.parametrize(
    ("octets", "lines", "sent"),
    [
        (b"Subject: x\r\n\r\none\r\ntwo\r\n", 0, b"Subject: x\r\n\r\n.\r\n"),
        (b"Subject: x\r\n\r\none\r\ntwo\r\n", 1, b"Subject: x\r\n\r\none\r\n.\r\n"),
        (b"Subject: x\r\n\r\none\r\ntwo\r\n", 99, b"Subject: x\r\n\r\none\r\ntwo\r\n.\r\n"),
        (b"no empty line", 1, b"no empty line\r\n.\r\n"),
        (b"\r\nbody\r\nmore\r\n", 1, b"\r\nbody\r\n.\r\n"),
        (b"a: b\n\n.c\nd\n", 1, b"a: b\n\n..c\n\r\n.\r\n"),
        (b"", 5, b".\r\n"),
    ],
)
def test_top(octets: bytes, lines: int, sent: bytes) -> None:
    assert whole(octets, lines) == sent


def test_what_follows_the_wanted_lines_is_not_looked_at() -> None:
    outgoing = Outgoing(1)
    assert outgoing.feed(b"a: b\r\n\r\none\r\ntwo\r\n") == b"a: b\r\n\r\none\r\n"
    assert outgoing.is_done
    assert outgoing.feed(b"three\r\n") == b""
