"""POP3 without a network: grammar, states, byte-stuffing."""

from __future__ import annotations

from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_proto.pop3 import replies
from mail_proto.pop3.commands import Dele, List, Pass, Quit, Retr, Stat, Top, User, parse_command
from mail_proto.pop3.errors import LineTooLong, NoSuchMessage, NotNow, Pop3Fault, SyntaxFault
from mail_proto.pop3.maildrop import Entry, Maildrop
from mail_proto.pop3.session import ServerSession


def session(*, may_log_in: bool = True) -> ServerSession:
    return ServerSession(offers_tls=True, is_secure=False, password_may_cross=may_log_in)


def maildrop(*sizes: int) -> Maildrop:
    return Maildrop(7, [Entry(uid, size, UUID(int=uid)) for uid, size in enumerate(sizes, 1)])


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"USER a b", User("a b")),
        (b"pass  secret ", Pass(" secret ")),
        (b"LIST", List()),
        (b"LIST 2", List(2)),
        (b"TOP 1 0", Top(1, 0)),
        (b"retr 12", Retr(12)),
    ],
)
def test_commands(line: bytes, command: object) -> None:
    assert parse_command(line) == command


@pytest.mark.parametrize(
    "line", [b"", b"FROB", b"RETR", b"RETR 0", b"RETR x", b"TOP 1", b"QUIT now", b"USER", b"USER \xff"]
)
def test_near_misses(line: bytes) -> None:
    with pytest.raises(SyntaxFault):
        parse_command(line)


@given(st.lists(st.integers(min_value=1, max_value=40), max_size=6))
def test_cutting_changes_nothing(cuts: list[int]) -> None:
    stream = b"USER alice\r\nPASS x\r\nSTAT\r\nQUIT\r\n"
    borders = [0, *sorted({cut for cut in cuts if cut < len(stream)}), len(stream)]
    found: list[object] = []
    machine = session()
    for start, end in pairwise(borders):
        for received in machine.receive(stream[start:end]):
            found.append(received)
            if isinstance(received, User):
                machine.user = received.name
            if isinstance(received, Pass):
                machine.logged_in(maildrop(1))
    assert found == [User("alice"), Pass("x"), Stat(), Quit()]


def test_what_is_allowed_when() -> None:
    machine = session()
    (fault,) = machine.receive(b"STAT\r\n")
    assert isinstance(fault, NotNow)
    (fault,) = machine.receive(b"PASS x\r\n")
    assert isinstance(fault, NotNow)
    machine.logged_in(maildrop())
    (fault,) = machine.receive(b"USER x\r\n")
    assert isinstance(fault, NotNow)
    assert machine.quit()


def test_no_password_in_clear_unless_allowed() -> None:
    machine = session(may_log_in=False)
    (fault,) = machine.receive(b"USER x\r\n")
    assert isinstance(fault, Pop3Fault)
    assert "USER" not in machine.capabilities()
    machine.secured()
    assert "USER" in machine.capabilities()
    assert "STLS" not in machine.capabilities()


def test_a_line_without_end() -> None:
    with pytest.raises(LineTooLong):
        list(session().receive(b"x" * 300))


def test_a_maildrop_keeps_its_numbers() -> None:
    drop = maildrop(10, 20, 30)
    drop.delete(2)
    assert drop.stat() == (2, 40)
    assert [msg for msg, _ in drop.remaining()] == [1, 3]
    with pytest.raises(NoSuchMessage):
        drop.entry(2)
    with pytest.raises(NoSuchMessage):
        drop.delete(4)
    assert drop.marked_uids() == [2]
    drop.reset()
    assert drop.marked_uids() == []
    assert drop.unique_id(3) == "7.3"
    assert parse_command(b"DELE 3") == Dele(3)


def unstuffed(reply: bytes) -> bytes:
    body = reply.partition(b"\r\n")[2]
    assert body.endswith(b".\r\n")
    body = body[:-3]
    lines = body.split(b"\n")
    assert b"." not in [line.rstrip(b"\r") for line in lines], "a client that splits at LF would end here"
    return b"\n".join(line[1:] if line.startswith(b".") else line for line in lines)


@given(st.lists(st.sampled_from([b".", b"\r\n", b"\n", b"\r", b"a", b"..", b"\x00"]), max_size=30).map(b"".join))
def test_stuffing_comes_back(octets: bytes) -> None:
    received = unstuffed(replies.message(octets, "here"))
    expected = octets if not octets or octets.endswith(b"\r\n") else octets + b"\r\n"
    assert received == expected


def test_top() -> None:
    message = b"Subject: x\r\n\r\none\r\ntwo\r\n"
    assert replies.top(message, 0) == b"Subject: x\r\n\r\n"
    assert replies.top(message, 1) == b"Subject: x\r\n\r\none\r\n"
    assert replies.top(message, 99) == message
    assert replies.top(b"no empty line", 1) == b"no empty line"
