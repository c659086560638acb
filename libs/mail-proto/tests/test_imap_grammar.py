"""IMAP's grammar: known answers, near misses, and the same commands however the octets are cut."""

from __future__ import annotations

import contextlib
import zlib
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_proto.imap import commands as c
from mail_proto.imap import dates, message_grammar, parser, sequence, utf7
from mail_proto.imap.compression import Compression
from mail_proto.imap.fetch_items import Attribute, Binary, Section
from mail_proto.imap.framing import (
    MAX_LINE_OCTETS,
    ContinuationNeeded,
    Event,
    Framing,
    FramingLost,
    Line,
    LiteralRefused,
)
from mail_proto.imap.mailbox_filters import MailboxFilter
from mail_proto.imap.notify_grammar import EventGroup, Notify
from mail_proto.imap.parser import TaggedFault, parse_command
from mail_proto.imap.partial import PartialRange
from mail_proto.imap.search_keys import AllOf, Everything, HasFlag, InHeader, Not
from mail_proto.imap.search_results import correlator, extended, saved
from mail_proto.imap.sequence import SequenceSet
from mail_proto.imap.sort_keys import SortCriterion, render_threads
from mail_proto.imap.urls import MessageUrl, parse_url, shown


def events(framing: Framing, *pieces: bytes) -> list[Event]:
    found: list[Event] = []
    for piece in pieces:
        framing.feed(piece)
        while (event := framing.next_event()) is not None:
            found.append(event)
    return found


STREAM = (
    b'a1 LOGIN {5}\r\nalice "pass word"\r\na2 APPEND INBOX (\\Seen) {7+}\r\nx\r\n{3}y\r\n'
    b"a3 NOOP\na4 LOGIN {3+}\r\na\r\n {2+}\r\n\x00\xff\r\n"
)
COMMANDS = [
    Line(b'a1 LOGIN {5}\r\nalice "pass word"'),
    Line(b"a2 APPEND INBOX (\\Seen) {7+}\r\nx\r\n{3}y"),
    Line(b"a3 NOOP"),
    Line(b"a4 LOGIN {3+}\r\na\r\n {2+}\r\n\x00\xff"),
]


def test_lines_and_literals() -> None:
    found = events(Framing(1000), STREAM)
    assert [event for event in found if isinstance(event, Line)] == COMMANDS
    assert found.count(ContinuationNeeded()) == 1, "only the literal without + is waited for"


@given(st.lists(st.integers(min_value=1, max_value=len(STREAM) - 1), max_size=20))
def test_cutting_changes_nothing(cuts: list[int]) -> None:
    borders = [0, *sorted(set(cuts)), len(STREAM)]
    pieces = [STREAM[start:end] for start, end in pairwise(borders)]
    assert [event for event in events(Framing(1000), *pieces) if isinstance(event, Line)] == COMMANDS


def test_a_literal_that_is_too_large() -> None:
    assert events(Framing(10), b"a APPEND x {11}\r\n") == [LiteralRefused(b"a", is_append=True)]
    found = events(Framing(10), b"a APPEND x {11+}\r\n" + b"y" * 11 + b" rest\r\nb NOOP\r\n")
    assert found == [LiteralRefused(b"a", is_append=True), Line(b"b NOOP")]
    assert events(Framing(10), b"a UID REPLACE 4 x {11}\r\n") == [LiteralRefused(b"a", is_append=True)]
    assert events(Framing(10), b"a LOGIN {99999999}\r\n") == [LiteralRefused(b"a", is_append=False)]
    assert events(Framing(10), b"a\xdb LOGIN {99999999}\r\n") == [LiteralRefused(b"*", is_append=False)]


def test_lines_without_end_and_literals_beyond_measure() -> None:
    with pytest.raises(FramingLost):
        events(Framing(10), b"x" * (MAX_LINE_OCTETS + 1))
    with pytest.raises(FramingLost):
        events(Framing(10), b"a APPEND x {999999999999+}\r\n")
    many = b"a LOGIN" + b" {1+}\r\nx" * (MAX_LINE_OCTETS // 5 + 1) + b"\r\n"
    with pytest.raises(FramingLost):
        events(Framing(10), many)


@given(st.binary(max_size=300))
def test_any_octets_give_a_command_or_a_fault(octets: bytes) -> None:
    with contextlib.suppress(TaggedFault):
        parse_command(octets)


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"a NOOP", c.Simple("NOOP")),
        (b"a noop  ", c.Simple("NOOP")),
        (b'a LOGIN "al\\"ice" {3}\r\nabc', c.Login('al"ice', "abc")),
        (b"a SELECT inBox", c.Select("INBOX", read_only=False)),
        (b"a EXAMINE &ZeVnLIqe-", c.Select("日本語", read_only=True)),
        (b'a LIST "" %', c.ListMailboxes("", ("%",))),
        (b'a LIST (SPECIAL-USE) "" ("*" "x") RETURN (CHILDREN)',
         c.ListMailboxes("", ("*", "x"), select=frozenset({"SPECIAL-USE"}), wanted=frozenset({"CHILDREN"}))),
        (b"a STATUS blurdybloop (UIDNEXT MESSAGES)", c.Status("blurdybloop", ("UIDNEXT", "MESSAGES"))),
        (b"a FETCH 2:4 ALL", c.Fetch(SequenceSet(((2, 4),)), tuple(
            Attribute(n) for n in ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE")), by_uid=False)),
        (b"a UID FETCH 4 BODY.PEEK[4.2.HEADER]<0.1024>", c.Fetch(SequenceSet(((4, 4),)), (
            Section(b"BODY[4.2.HEADER]", (4, 2), "HEADER", (), (0, 1024), sets_seen=False),), by_uid=True)),
        (b"a STORE 2:4 +FLAGS.SILENT (\\Deleted)",
         c.StoreFlags(SequenceSet(((2, 4),)), "add", ("\\Deleted",), silent=True, by_uid=False)),
        (b"a UID EXPUNGE 3:*", c.Expunge(SequenceSet(((3, 0),)))),
        (b"a UID MOVE 1 x", c.Copy(SequenceSet(((1, 1),)), "x", by_uid=True, move=True)),
        (b'a APPEND x (\\Seen) "17-Jul-1996 02:44:25 -0700" {3+}\r\nabc',
         c.Append("x", (c.NewMessage(("\\Seen",), datetime(1996, 7, 17, 9, 44, 25, tzinfo=UTC), b"abc"),))),
        (b"a APPEND x {1+}\r\na (\\Draft) ~{1+}\r\nb UTF8 (~{1+}\r\nc)",
         c.Append("x", (c.NewMessage((), None, b"a"), c.NewMessage(("\\Draft",), None, b"b", is_binary=True),
                        c.NewMessage((), None, b"c", is_binary=True)))),
        (b"a SELECT x (CONDSTORE QRESYNC (1 2 3:4 (5 6)))", c.Select(
            "x", read_only=False, condstore=True, resync=c.Resync(
                1, 2, SequenceSet(((3, 4),)), (SequenceSet(((5, 5),)), SequenceSet(((6, 6),)))))),
        (b"a UID FETCH $ ALL (CHANGEDSINCE 7 VANISHED)", c.Fetch(SequenceSet((), is_saved=True), tuple(
            Attribute(n) for n in ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE")), by_uid=True, changed_since=7,
            vanished=True)),
        (b"a FETCH 1 (BINARY.SIZE[1.2] PREVIEW (LAZY) EMAILID)", c.Fetch(SequenceSet(((1, 1),)), (
            Binary(b"BINARY.SIZE[1.2]", (1, 2), sets_seen=False, is_size=True), Attribute("PREVIEW"),
            Attribute("EMAILID")), by_uid=False)),
        (b"a COMPRESS deflate", c.Compress("DEFLATE")),
        (b'a SEARCH FLAGGED NOT FROM "Smith"',
         c.Search(AllOf((HasFlag("\\flagged"), Not(InHeader(b"FROM", "Smith")))), by_uid=False)),
        (b'a APPEND x (\\Seen) CATENATE (URL "/y/;UID=20" TEXT {2+}\r\nab) {1+}\r\nc', c.Append("x", (
            c.NewMessage(("\\Seen",), None, b"", parts=("/y/;UID=20", b"ab")), c.NewMessage((), None, b"c")))),
        (b'a ESEARCH IN (mailboxes ("x" y) subtree-one z personal) RETURN (COUNT) FLAGGED', c.SearchMailboxes(
            (MailboxFilter("MAILBOXES", ("x", "y")), MailboxFilter("SUBTREE-ONE", ("z",)), MailboxFilter("PERSONAL")),
            HasFlag("\\flagged"), frozenset({"COUNT"}))),
        (b"a ESEARCH ALL", c.SearchMailboxes((MailboxFilter("SELECTED"),), Everything(), frozenset({"ALL"}))),
        (b'a CANCELUPDATE "B01" "B\\"2"', c.CancelUpdate((b"B01", b'B"2'))),
        (b"a SEARCH RETURN (UPDATE CONTEXT) ALL", c.Search(
            Everything(), by_uid=False, results=frozenset({"UPDATE", "CONTEXT"}))),
        (b"a notify set status (selected MessageNew (uid body.peek[header.fields (from to)]) MessageExpunge) "
         b"(subtree Lists (MessageNew MessageExpunge)) (personal NONE)", Notify((
             EventGroup(MailboxFilter("SELECTED"), frozenset({"MESSAGENEW", "MESSAGEEXPUNGE"}), (
                 Attribute("UID"), Section(b"BODY[HEADER.FIELDS (from to)]", (), "HEADER.FIELDS", (b"from", b"to"),
                                           sets_seen=False))),
             EventGroup(MailboxFilter("SUBTREE", ("Lists",)), frozenset({"MESSAGENEW", "MESSAGEEXPUNGE"})),
             EventGroup(MailboxFilter("PERSONAL"), frozenset())), status=True)),
        (b"a NOTIFY NONE", Notify()),
        (b"a SEARCH RETURN (UPDATE (UID BODY[])) ALL", c.Search(
            Everything(), by_uid=False, results=frozenset({"UPDATE"}),
            fetched=(Attribute("UID"), Section(b"BODY[]", sets_seen=False)))),
        (b"a UID REPLACE 4 Drafts (\\Seen) {1+}\r\nx", c.Replace(
            SequenceSet(((4, 4),)), "Drafts", c.NewMessage(("\\Seen",), None, b"x"), by_uid=True)),
        (b"a UID SEARCH RETURN (PARTIAL -1:-100 SAVE) ALL", c.Search(
            Everything(), by_uid=True, results=frozenset({"PARTIAL", "SAVE"}), partial=PartialRange(-1, -100))),
        (b"a UID FETCH 1:* UID (CHANGEDSINCE 5 PARTIAL 9:2)", c.Fetch(
            SequenceSet(((1, 0),)), (Attribute("UID"),), by_uid=True, changed_since=5, partial=PartialRange(2, 9))),
        (b"a SORT (SUBJECT REVERSE DATE) UTF-8 ALL",
         c.Sort((SortCriterion("subject"), SortCriterion("date", reverse=True)), Everything(), by_uid=False)),
        (b'a UID THREAD REFERENCES "us-ascii" FLAGGED', c.Thread("references", HasFlag("\\flagged"), by_uid=True)),
    ],
)  # fmt: skip
def test_commands(line: bytes, command: c.Command) -> None:
    assert parse_command(line) == (b"a", command)


def test_what_was_parsed_before_is_the_same() -> None:
    lines = [b"NOOP", b"noop", b"FETCH 1:* FLAGS", b"UID FETCH 7 (UID BODY.PEEK[HEADER.FIELDS (X-Y)]<0.5>)"]
    lines += [b"UID FETCH 7 FLAGS", b"UID FETCH 7 FLAGS (CHANGEDSINCE 5)", b"FETCH 7 FLAGS", b"FETCH 8 BODY[1] "]
    for line in lines * 2:
        _, command = parse_command(b"t1 " + line)
        assert parse_command(b"t2 " + line) == (b"t2", command)
        for tag in (b"", b"+", b"a*", b"a(", b"\xff"):
            with pytest.raises(TaggedFault):
                parse_command(tag + b" " + line)


def test_secrets_and_what_is_long_are_parsed_and_forgotten() -> None:
    for line in (b"LOGIN me secret", b"AUTHENTICATE PLAIN AG1lAHNlY3JldA==", b"FETCH " + b"1,2," * 20 + b"3 FLAGS"):
        parse_command(b"a " + line)
        assert line not in parser._known
    for number in range(1, parser.KNOWN_COMMANDS + 10):
        parse_command(b"a FETCH %d BODY[%d]" % (number, number))
        assert len(parser._known) <= parser.KNOWN_COMMANDS
        assert len(message_grammar._known_items) <= message_grammar.KNOWN_ITEMS
    long = b"(" + b" ".join(b"BODY[%d]" % number for number in range(1, 100)) + b")"
    parse_command(b"a FETCH 1 " + long)
    assert long not in message_grammar._known_items


def test_what_a_fetch_needs_depends_on_how_it_is_asked() -> None:
    """The same items, parsed before or not."""
    for _ in range(2):
        for line, names in [
            (b"FETCH 1 (FLAGS RFC822.SIZE)", ("FLAGS", "RFC822.SIZE")),
            (b"UID FETCH 1 (FLAGS RFC822.SIZE)", ("UID", "FLAGS", "RFC822.SIZE")),
            (b"FETCH 1 (FLAGS RFC822.SIZE) (CHANGEDSINCE 1)", ("FLAGS", "RFC822.SIZE", "MODSEQ")),
            (b"UID FETCH 1 (MODSEQ UID) (CHANGEDSINCE 1)", ("MODSEQ", "UID")),
            (b"FETCH 1 (FLAGS ENVELOPE)", ()),
        ]:
            _, command = parse_command(b"a " + line)
            assert isinstance(command, c.Fetch)
            assert command.plan.columns == names
        _, command = parse_command(b"a UID FETCH 1 (BODY[] BODY.PEEK[HEADER] PREVIEW)")
        assert isinstance(command, c.Fetch)
        needed = command.plan
        assert (needed.bodies, needed.headers, needed.summaries, needed.previews) == (True, True, True, True)
        assert (needed.objects, needed.sets_seen, needed.names) == (False, True, {"UID", "PREVIEW"})


@pytest.mark.parametrize(
    "line",
    [
        b"", b"a", b"a ", b"a FROB", b"a NOOP x", b"a LOGIN x", b"a UID NOOP", b"a FETCH 0 FLAGS", b"a FETCH 1",
        b"a FETCH 1 ()", b"a FETCH 1 (FLAGS", b"a FETCH 1 BODY[", b"a FETCH 1 BODY[MIME]", b"a FETCH 1 BODY[]<1>",
        b"a FETCH 1 BODY[HEADER.FIELDS ()]", b"a STORE 1 FLAGS", b"a SEARCH", b"a SEARCH FROM",
        b"a SEARCH ON 1-Foo-2000",
        b"a SEARCH " + b"(" * 60 + b"ALL" + b")" * 60, b"a STATUS x ()", b"a STATUS x (FOO)",
        b"a FETCH 4294967296 FLAGS",
        b"a APPEND x CATENATE ()", b"a APPEND x CATENATE (TEXT abc)", b"a APPEND x CATENATE (URL)",
        b"a NOTIFY", b"a NOTIFY SET", b"a NOTIFY SET (selected (MessageNew))", b"a NOTIFY SET (personal (FlagChange))",
        b"a NOTIFY SET (personal (MessageNew (UID) MessageExpunge))", b"a NOTIFY SET (selected (MailboxName))",
        b"a NOTIFY SET (selected NONE) (selected-delayed NONE)", b"a NOTIFY SET (subtree-one x NONE)",
        b"a REPLACE 1:2 x {1+}\r\nx", b"a REPLACE 1,2 x {1+}\r\nx", b"a REPLACE $ x {1+}\r\nx",
        b"a REPLACE 1 {1+}\r\nx", b"a REPLACE 1 x {1+}\r\nx {1+}\r\ny",
        b"a ESEARCH IN () ALL", b"a ESEARCH IN (selected-delayed) ALL", b"a ESEARCH IN (mailboxes ()) ALL",
        b"a ESEARCH IN (personal) RETURN (SAVE) ALL", b"a ESEARCH IN (personal) RETURN (UPDATE) ALL",
        b"a ESEARCH IN (selected (x)) ALL", b"a CANCELUPDATE",
        b"a SEARCH RETURN (PARTIAL 1:2 ALL) ALL", b"a SEARCH RETURN (PARTIAL 1:2 PARTIAL 3:4) ALL",
        b"a SEARCH RETURN (PARTIAL -1:2) ALL", b"a SEARCH RETURN (PARTIAL 0:2) ALL", b"a SEARCH RETURN (PARTIAL 1) ALL",
        b"a SEARCH RETURN (PARTIAL 1:*) ALL", b"a SEARCH RETURN (PARTIAL 1:4294967296) ALL",
        b"a FETCH 1:* UID (PARTIAL 1:2)",
        b"a APPEND x (\\Seen) y", b'a LOGIN "a\\x" b', b"+ NOOP", b"a LOGIN {9}\r\nabc d",
    ],
)  # fmt: skip
def test_near_misses(line: bytes) -> None:
    with pytest.raises(TaggedFault):
        parse_command(line)


def test_an_event_that_nobody_knows() -> None:
    """RFC 5465 §3.1: NO, not BAD."""
    with pytest.raises(TaggedFault) as caught:
        parse_command(b"a NOTIFY SET (personal (AnnotationChange))")
    known = b"MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange"
    known += b" MailboxMetadataChange ServerMetadataChange"
    assert caught.value.fault.reply(b"a").startswith(b"a NO [BADEVENT (" + known + b")] ")


def test_an_unknown_charset_has_its_own_answer() -> None:
    with pytest.raises(TaggedFault) as caught:
        parse_command(b"a SEARCH CHARSET KLINGON TEXT x")
    assert caught.value.fault.reply(b"a").startswith(b"a NO [BADCHARSET (US-ASCII UTF-8)]")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_modified_utf7_comes_back(name: str) -> None:
    encoded = utf7.encode(name)
    assert encoded.isascii()
    assert utf7.decode(encoded) == name


def test_modified_utf7_examples() -> None:
    assert utf7.encode("~peter/mail/台北/日本語") == b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"
    assert utf7.encode("a&b") == b"a&-b"
    assert utf7.decode("Entwürfe".encode()) == "Entwürfe"
    with pytest.raises(ValueError, match="unfinished"):
        utf7.decode(b"a&b")


@given(st.sets(st.integers(min_value=1, max_value=60)), st.sets(st.integers(min_value=1, max_value=60), min_size=1))
def test_sets_select_what_they_name(known: set[int], wanted: set[int]) -> None:
    parsed = sequence.parse(sequence.render(sorted(wanted)))
    assert parsed.select(sorted(known)) == sorted(known & wanted)


def test_sets_with_a_star() -> None:
    assert sequence.parse(b"*").select([3, 7]) == [7]
    assert sequence.parse(b"9:*").select([3, 7]) == [7], "RFC 3501 §6.4.8: the largest is always in it"
    assert sequence.parse(b"*:5").select([3, 5, 7]) == [5, 7]
    assert sequence.parse(b"1:*,2,1:3").select([]) == []


def test_dates() -> None:
    assert dates.render_date_time(981173106) == b'" 3-Feb-2001 04:05:06 +0000"'
    assert int(dates.parse_date_time(" 3-Feb-2001 05:05:06 +0100").timestamp()) == 981173106
    for text in ("31-Feb-2001 00:00:00 +0000", "1-Foo-2001 00:00:00 +0000", "now"):
        with pytest.raises(ValueError):
            dates.parse_date_time(text)


@pytest.mark.parametrize(
    "command",
    [
        b"a SORT () UTF-8 ALL",
        b"a SORT (REVERSE) UTF-8 ALL",
        b"a SORT (SUBJECT) ALL",
        b"a SORT (COLOUR) UTF-8 ALL",
        b"a SORT (SUBJECT REVERSE REVERSE DATE) UTF-8 ALL",
        b"a SORT SUBJECT UTF-8 ALL",
        b"a SORT (" + b"DATE " * 30 + b"DATE) UTF-8 ALL",
        b"a THREAD CHAOS UTF-8 ALL",
        b"a THREAD REFERENCES UTF-8",
    ],
)
def test_what_is_no_sort_or_thread(command: bytes) -> None:
    with pytest.raises(TaggedFault):
        parse_command(command)


@pytest.mark.parametrize(
    ("numbers", "depths", "shown"),
    [
        # RFC 5256 §4
        ([2, 3, 6, 4, 23, 44, 7, 96], [0, 0, 1, 2, 3, 2, 3, 4], b"(2)(3 6 (4 23)(44 7 96))"),
        ([0, 3, 5], [0, 1, 1], b"((3)(5))"),
        # RFC 5256 §3
        ([0, 194, 195, 196, 197, 198], [0, 1, 1, 2, 0, 1], b"((194)(195 196))(197 198)"),
        ([177, 183, 182, 188, 184, 189], [0, 1, 1, 1, 2, 2], b"(177 (183)(182)(188 (184)(189)))"),
        ([], [], b""),
        (list(range(1, 2_001)), list(range(2_000)), b"(" + b" ".join(b"%d" % n for n in range(1, 2_001)) + b")"),
    ],
)
def test_threads_are_shown(numbers: list[int], depths: list[int], shown: bytes) -> None:
    assert render_threads(numbers, depths) == shown


def test_compression_ends_at_a_flush() -> None:
    """RFC 8437 §4.1: what the client sends behind UNAUTHENTICATE is in clear, be it in the same packet."""
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
    octets = deflate.compress(b"a UNAUTHENTICATE\r\n") + deflate.flush(zlib.Z_SYNC_FLUSH)
    compression = Compression()
    assert next(compression.pieces(octets + b"b NOOP\r\n")) == b"a UNAUTHENTICATE\r\n"
    assert compression.in_clear == b"b NOOP\r\n"
    deflate, compression = zlib.compressobj(6, zlib.DEFLATED, -15), Compression()
    ended = deflate.compress(b"a UNAUTHENTICATE\r\n") + deflate.flush(zlib.Z_FINISH)
    assert next(compression.pieces(ended + b"b NOOP\r\n")) == b"a UNAUTHENTICATE\r\n"
    assert compression.in_clear == b"b NOOP\r\n"


def test_urls_of_messages() -> None:
    """RFC 4469 appendix A."""
    assert parse_url("/Drafts;UIDVALIDITY=385759045/;UID=20/;section=1.MIME") == MessageUrl(
        "Drafts", 385759045, 20, Section(b"BODY[1.MIME]", (1,), "MIME", sets_seen=False)
    )
    assert parse_url("/%C3%A4%2Fb%3B/;UID=1/;PARTIAL=0.1024") == MessageUrl("ä/b;", None, 1, None, 0, 1024)
    assert parse_url("/inbox/;UID=1").mailbox == "INBOX"
    assert parse_url(";UID=7/;SECTION=HEADER.FIELDS%20(To)/;PARTIAL=5").section == Section(
        b"BODY[HEADER.FIELDS (To)]", (), "HEADER.FIELDS", (b"To",), sets_seen=False
    )
    assert shown("a]b\r\n") == "a%5Db%0D%0A"


@pytest.mark.parametrize(
    "text",
    [
        "", "/", "/Drafts", "imap://host/Drafts/;UID=1", "//host/Drafts/;UID=1", "/Drafts;UIDVALIDITY=0/;UID=1",
        "/Drafts/;UID=0", "/Drafts/;UID=1/;SECTION=", "/Drafts/;UID=1/;SECTION=MIME", "/Drafts/;UID=1/;SECTION=1]",
        "/Drafts/;UID=1;URLAUTH=anonymous", "/Drafts/;UID=1/;PARTIAL=1.0", "/%zz/;UID=1", "/%ff/;UID=1", "/ä/;UID=1",
    ],
)  # fmt: skip
def test_what_is_no_url_of_a_message(text: str) -> None:
    with pytest.raises(ValueError):
        parse_url(text)


def test_pages_of_results() -> None:
    results = [3, 5, 8, 9]
    assert PartialRange(1, 2).of(results) == [3, 5]
    assert PartialRange(3, 4).of(results) == [8, 9]
    assert PartialRange(4, 100).of(results) == [9]
    assert PartialRange(5, 9).of(results) == []
    assert PartialRange(-1, -2).of(results) == [8, 9]
    assert PartialRange(-3, -4).of(results) == [3, 5]
    assert PartialRange(-3, -100).of(results) == [3, 5]
    assert PartialRange(-5, -9).of(results) == []
    everything = frozenset({"PARTIAL", "COUNT"})
    answer = extended(correlator(b"a", by_uid=True), everything, results, partial=PartialRange(-1, -3))
    assert answer == b'* ESEARCH (TAG "a") UID PARTIAL (-1:-3 5,8:9) COUNT 4\r\n'
    assert saved(everything, results, PartialRange(1, 1)) == results
    assert saved(frozenset({"PARTIAL", "MAX"}), results, PartialRange(1, 1)) == [3, 9]


def test_gaps_in_a_set() -> None:
    assert list(sequence.gaps([(1, 5), (8, 9), (12, 12)], [2, 3, 8, 12])) == [(1, 1), (4, 5), (9, 9)]
    assert sequence.render_ranges([(1, 1), (4, 5)]) == b"1,4:5"
