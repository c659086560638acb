"""The SMTP session without a network: transcripts, split invariance, what ends a session."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mail_proto.smtp.content import BareLineEnds, ContentRules
from mail_proto.smtp.offer import Offer
from mail_proto.smtp.session import MAX_ERRORS, MAX_IDLE_COMMANDS
from mail_testkit.smtp_sessions import Sessions, play
from mail_testkit.transcripts import Player, read

PATHS = sorted((Path(__file__).parent / "smtp").glob("*.txt"))
TRANSACTION = b"EHLO a\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n"
PLAIN = Offer("mx.test", 1000)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_transcript(path: Path) -> None:
    sessions = Sessions()
    Player(sessions.connect, sessions.actions(), sessions.captures()).play(read(path))


def test_there_are_transcripts() -> None:
    assert len(PATHS) >= 10


SAID = st.lists(
    st.sampled_from(
        [
            b"EHLO a\r\n", b"HELO a\r\n", b"MAIL FROM:<a@b.test>\r\n", b"RCPT TO:<c@d.test>\r\n", b"DATA\r\n", b"x\r\n",
            b".\r\n", b"\r\n.\r\n", b"..\r\n", b"BDAT 4\r\n", b"ab\r\n", b"BDAT 0 LAST\r\n", b"BDAT 3 LAST\r\nabc",
            b"RSET\r\n", b"NOOP\r\n", b"QUIT\r\n", b"\n", b"\r", b"\0", b"x" * 3000 + b"\r\n", b"AUTH PLAIN\r\n",
            b"STARTTLS\r\n", b"MAIL FROM:<a@b.test> BODY=BINARYMIME\r\n",
        ]
    ),
    max_size=30,
)  # fmt: skip


@given(SAID.map(b"".join), st.lists(st.integers(min_value=0, max_value=3000), max_size=12))
@settings(max_examples=200, deadline=None)
def test_where_octets_are_cut_changes_nothing(said: bytes, cuts: list[int]) -> None:
    borders = [0, *sorted(cut for cut in cuts if cut < len(said)), len(said)]
    pieces = [said[start:end] for start, end in pairwise(borders)]
    assert play(PLAIN, pieces) == play(PLAIN, [said])


@pytest.mark.parametrize(
    ("line", "most", "last"),
    [(b"FOO\r\n", MAX_ERRORS, b"421 4.7.0 too many errors"),
     (b"NOOP\r\n", MAX_IDLE_COMMANDS, b"421 4.7.0 too many commands without a message")],
)  # fmt: skip
def test_a_session_without_mail_ends(line: bytes, most: int, last: bytes) -> None:
    replies = play(PLAIN, [line * most]).replies
    assert b"421" not in replies
    ended = play(PLAIN, [line * (most + 1)])
    assert ended.replies.endswith(last + b"\r\n")
    assert ended.is_closed


def test_patience_comes_back_with_each_message() -> None:
    transaction = TRANSACTION.removesuffix(b"QUIT\r\n")
    played = play(PLAIN, [(b"FOO\r\n" * 20 + transaction) * 5])
    assert len(played.messages) == 5
    assert not played.is_closed


def test_a_line_without_end_takes_no_memory() -> None:
    played = play(PLAIN, [b"x" * 65_536] * 800 + [b"\r\nNOOP\r\n"])
    assert played.replies == b"500 5.5.2 line too long\r\n250 2.0.0 OK\r\n"
    assert played.most_held_octets < 3 * 65_536


def test_data_beyond_the_limit_takes_no_memory() -> None:
    begin = b"EHLO a\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n"
    for pieces in (
        [begin + b"DATA\r\n", *[b"x" * 65_536] * 800, b"\r\n.\r\nNOOP\r\n"],
        [begin + b"BDAT 52428800 LAST\r\n", *[b"x" * 65_536] * 800, b"NOOP\r\n"],
    ):
        played = play(PLAIN, pieces)
        assert played.replies.endswith(b"552 5.3.4 messages may have 1000 octets\r\n250 2.0.0 OK\r\n")
        assert played.most_held_octets < 3 * 65_536
        assert not played.messages


def test_a_hundred_thousand_recipients() -> None:
    begin = b"EHLO a\r\nMAIL FROM:<a@b.test>\r\n"
    many = [b"".join(b"RCPT TO:<u%d@d.test>\r\n" % n for n in range(k, k + 1000)) for k in range(0, 100_000, 1000)]
    played = play(PLAIN, [begin, *many, b"DATA\r\nx\r\n.\r\n"])
    assert played.replies.count(b"452 4.5.3 too many recipients\r\n") == 99_000
    (envelope,) = played.envelopes
    assert len(envelope.recipients) == 1000


@pytest.mark.parametrize(
    ("rules", "body", "came"),
    [
        (ContentRules(), b"a\nb\r\n", None),
        (ContentRules(), b"a\rb\r\n", None),
        (ContentRules(BareLineEnds.NORMALISE), b"a\nb\rc\r\n", b"a\r\nb\r\nc\r\n"),
        (ContentRules(BareLineEnds.KEEP), b"a\nb\rc\r\n", b"a\nb\rc\r\n"),
        (ContentRules(), b"a\0b\r\n", b"a\0b\r\n"),
        (ContentRules(allows_nul=False), b"a\0b\r\n", None),
        (ContentRules(), b"\xff\r\n", b"\xff\r\n"),
        (ContentRules(allows_8bit_undeclared=False), b"\xff\r\n", None),
        (ContentRules(max_line_octets=5), b"12345\r\n1234\r\n\r\n12345\r\n", b"12345\r\n1234\r\n\r\n12345\r\n"),
        (ContentRules(max_line_octets=5), b"123456\r\n", None),
        (ContentRules(max_line_octets=5), b"1\r\n123456\r\n", None),
        (ContentRules(BareLineEnds.KEEP, max_line_octets=5), b"1\n2345\n12345\n", b"1\n2345\n12345\n"),
    ],
)
def test_contents_by_the_rules_of_the_site(rules: ContentRules, body: bytes, came: bytes | None) -> None:
    if not body.endswith(b"\r\n"):
        body += b"\r\n"
        came = came and came + b"\r\n"
    begin = b"EHLO a\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n"
    for how in (b"DATA\r\n%b.\r\n" % body, b"BDAT %d LAST\r\n%b" % (len(body), body)):
        played = play(PLAIN, [begin + how + b"NOOP\r\n"], rules)
        assert played.messages == ([] if came is None else [came])
        assert played.replies.endswith(b"250 2.0.0 OK\r\n")


def test_declared_8bit_is_taken_by_strict_sites() -> None:
    said = b"EHLO a\r\nMAIL FROM:<a@b.test> BODY=8BITMIME\r\nRCPT TO:<c@d.test>\r\nDATA\r\n\xff\r\n.\r\n"
    assert play(PLAIN, [said], ContentRules(allows_8bit_undeclared=False)).messages == [b"\xff\r\n"]
