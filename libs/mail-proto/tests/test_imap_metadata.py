"""METADATA: commands, names of entries, and responses (RFC 5464)."""

from __future__ import annotations

import pytest

from mail_proto.imap import commands as c
from mail_proto.imap.errors import SyntaxFault
from mail_proto.imap.metadata import entry_name, is_within, metadata
from mail_proto.imap.parser import TaggedFault, parse_command


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b'a GETMETADATA "" /shared/comment', c.GetMetadata("", ("/shared/comment",))),
        (
            b'a GETMETADATA "INBOX" (/shared/comment /private/comment)',
            c.GetMetadata("INBOX", ("/shared/comment", "/private/comment")),
        ),
        (
            b'a GETMETADATA "INBOX" /shared/comment /private/comment',  # §4.4.1
            c.GetMetadata("INBOX", ("/shared/comment", "/private/comment")),
        ),
        (
            b'a GETMETADATA "INBOX" (MAXSIZE 1024) (/shared/comment /private/comment)',  # §4.2.1
            c.GetMetadata("INBOX", ("/shared/comment", "/private/comment"), 1024),
        ),
        (
            b"a GETMETADATA (DEPTH infinity MAXSIZE 5) inbox /PRIVATE/Filters",  # §5
            c.GetMetadata("INBOX", ("/private/filters",), 5, None),
        ),
        (
            b"a getmetadata (depth 1) INBOX (/private /shared/vendor/x)",
            c.GetMetadata("INBOX", ("/private", "/shared/vendor/x"), None, 1),
        ),
        (b"a SETMETADATA INBOX (/private/comment NIL)", c.SetMetadata("INBOX", {"/private/comment": None})),
        (
            b'a SETMETADATA "" (/private/comment "My \\"new\\"" /shared/comment {4+}\r\na\r\nb)',
            c.SetMetadata("", {"/private/comment": b'My "new"', "/shared/comment": b"a\r\nb"}),
        ),
        (
            b"a SETMETADATA INBOX (/private/vendor/x/y ~{3+}\r\na\0b)",
            c.SetMetadata("INBOX", {"/private/vendor/x/y": b"a\0b"}),
        ),
    ],
)
def test_commands(line: bytes, command: c.Command) -> None:
    assert parse_command(line) == (b"a", command)


@pytest.mark.parametrize(
    "line",
    [
        b"a GETMETADATA INBOX",
        b"a GETMETADATA INBOX ()",
        b"a GETMETADATA (MAXSIZE) INBOX /private/x",
        b"a GETMETADATA (DEPTH 2) INBOX /private/x",
        b"a GETMETADATA (SIZE 2) INBOX /private/x",
        b"a GETMETADATA () INBOX /private/x",
        b'a GETMETADATA INBOX "/private/*"',
        b"a GETMETADATA INBOX /public/x",
        b"a SETMETADATA INBOX ()",
        b"a SETMETADATA INBOX (/private/x)",
        b'a SETMETADATA INBOX (/private "x")',
        b"a SETMETADATA INBOX (/private/x atom)",
        b'a SETMETADATA INBOX /private/x "x"',
    ],
)
def test_near_misses(line: bytes) -> None:
    with pytest.raises(TaggedFault):
        parse_command(line)


@pytest.mark.parametrize(
    "name",
    [
        b"",
        b"comment",
        b"/private",
        b"/private/",
        b"/private//x",
        b"/private/x/",
        b"/shared/vendor/token",
        b"/shared/a%b",
        b"/shared/\x80",
        b"/shared/\x19",
        b"/shared/" + b"x" * 300,
    ],
)
def test_names_that_are_none(name: bytes) -> None:
    with pytest.raises(SyntaxFault):
        entry_name(name)


def test_depth() -> None:
    names = ("/private/a", "/private/a/b", "/private/a/b/c", "/private/ab")
    assert [[name for name in names if is_within(name, "/private/a", depth)] for depth in (0, 1, None)] == [
        list(names[:1]),
        list(names[:2]),
        list(names[:3]),
    ]


def test_response() -> None:
    values = {"/private/a": b'x"y', "/private/b": None, "/private/c": b"a\r\n", "/private/d": b"\0", "/private/e": b""}
    assert metadata(b'"x"', values) == (
        b'* METADATA "x" (/private/a "x\\"y" /private/b NIL /private/c {3}\r\na\r\n /private/d ~{1}\r\n\0'
        b' /private/e "")\r\n'
    )
