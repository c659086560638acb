"""Rights of mailboxes: how they are said and told (RFC 4314 §2.1.1, §3, §7)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_proto.imap import commands as c
from mail_proto.imap.parser import TaggedFault, parse_command
from mail_proto.imap.patterns import Pattern, may_match
from mail_proto.imap.rights import RIGHTS, acl, list_rights, my_rights, right_for, told


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"a GETACL inbox/x", c.Acl("GETACL", "INBOX/x")),
        (b'a setacl Drafts "Bob Brown" +cda', c.Acl("SETACL", "Drafts", "Bob Brown", "kxtea", "add")),
        (b"a SETACL Drafts -bob -d", c.Acl("SETACL", "Drafts", "-bob", "te", "remove")),
        (b'a SETACL Drafts bob ""', c.Acl("SETACL", "Drafts", "bob", "")),
        (b"a SETACL Drafts b\xc2\xadob aerl", c.Acl("SETACL", "Drafts", "bob", "lrea")),  # SASLprep
        (b"a DELETEACL Drafts anyone", c.Acl("DELETEACL", "Drafts", "anyone")),
        (b"a LISTRIGHTS Drafts {3+}\r\nbob", c.Acl("LISTRIGHTS", "Drafts", "bob")),
        (b"a MYRIGHTS Drafts", c.Acl("MYRIGHTS", "Drafts")),
    ],
)
def test_commands(line: bytes, command: c.Acl) -> None:
    if not line.isascii():  # identifiers are UTF-8, in literals or quoted once that is enabled
        line = line.replace(b"b\xc2\xadob", b"{5+}\r\nb\xc2\xadob")
    assert parse_command(line) == (b"a", command)


@pytest.mark.parametrize(
    "line",
    [
        b"a GETACL",
        b"a SETACL Drafts bob",
        b"a SETACL Drafts bob lrQ",
        b"a SETACL Drafts bob lrq",
        b"a SETACL Drafts bob 0",
        b"a SETACL Drafts bob l r",
        b'a SETACL Drafts "" lr',
        b'a DELETEACL Drafts "-"',
        b"a LISTRIGHTS Drafts {3+}\r\n\xee\x80\x80",  # a private character (RFC 4013 §2.3)
        b"a MYRIGHTS Drafts bob",
    ],
)
def test_near_misses(line: bytes) -> None:
    with pytest.raises(TaggedFault):
        parse_command(line)


def test_obsolete_rights_are_told_with_any_of_their_members() -> None:
    assert [told(rights) for rights in ("", "lr", "k", "x", "t", "ea", RIGHTS)] == [
        "",
        "lr",
        "kc",
        "xc",
        "td",
        "eda",
        "lrswipkxtecda",
    ]


@given(st.sets(st.sampled_from(RIGHTS)))
def test_what_is_told_means_no_less(rights: set[str]) -> None:
    """A client that gives what it was told gives all of it; `c` and `d` may stand for more."""
    letters = "".join(letter for letter in RIGHTS if letter in rights)
    _, command = parse_command(b'a SETACL x y "' + told(letters).encode() + b'"')
    assert isinstance(command, c.Acl)
    assert set(command.rights) >= rights


def test_responses() -> None:
    assert acl(b'"x"', [("fred", RIGHTS), ("-Bob B", "lr")]) == b'* ACL "x" fred lrswipkxtecda "-Bob B" lr\r\n'
    assert my_rights(b'"x"', "") == b'* MYRIGHTS "x" ""\r\n'
    assert list_rights(b'"x"', "bob", "", RIGHTS) == b'* LISTRIGHTS "x" bob "" l r s w i p k x t e c d a\r\n'
    assert list_rights(b'"x"', "bob", RIGHTS, "") == b'* LISTRIGHTS "x" bob lrswipkxtecda\r\n'


def test_flags_take_rights() -> None:
    assert [right_for(flag) for flag in ("\\SEEN", "\\Deleted", "\\Draft", "$Junk", "\\*")] == ["s", "t", "w", "w", "w"]


@given(st.text("Shared/*%x", max_size=12), st.text("Shared/x", max_size=8))
def test_a_pattern_that_matches_may_match(pattern: str, rest: str) -> None:
    name = "Shared/" + rest
    assert may_match(pattern, ["Shared/"]) or not Pattern(pattern).matches(name)
