"""POP3 without a network: grammar, framing, states, maildrop."""

from __future__ import annotations

from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_proto.pop3.capabilities import Offer
from mail_proto.pop3.commands import Auth, Command, Dele, Lang, List, Pass, Quit, Retr, Top, Uidl, User, parse_command
from mail_proto.pop3.errors import (
    Garbage,
    InUse,
    LineTooLong,
    LoginRefused,
    NoSuchMessage,
    SyntaxFault,
    TemporaryFailure,
)
from mail_proto.pop3.framing import LineReader
from mail_proto.pop3.maildrop import Maildrop
from mail_proto.pop3.session import ServerSession
from mail_proto.pop3.steps import Authenticate, Bye, LogIn, Reply, SaslResponse, Send, StartTls, Update


def session(*, may_log_in: bool = True, login_delay_s: int = 0) -> ServerSession:
    offer = Offer("mail.test", True, ("PLAIN",), login_delay_s)
    return ServerSession(offer, is_secure=False, password_may_cross=may_log_in)


def maildrop(*sizes: int) -> Maildrop:
    ids = [UUID(int=number) for number in range(1, len(sizes) + 1)]
    return Maildrop(list(range(1, len(sizes) + 1)), sizes, ids, ids)


def said(machine: ServerSession, octets: bytes) -> list[bytes]:
    """First lines of the replies to these octets, where nothing but replies comes of them."""
    found = []
    for step in machine.receive(octets):
        assert isinstance(step, Reply | Bye), step
        found.append(step.octets.partition(b"\r\n")[0])
    return found


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"USER a b", User("a b")),
        (b"USER j\xc3\xbcrgen", User("jürgen")),
        (b"pass  secret ", Pass(" secret ")),
        (b"LIST", List()),
        (b"LIST 2", List(2)),
        (b"UIDL 7", Uidl(7)),
        (b"TOP 1 0", Top(1, 0)),
        (b"retr 12", Retr(12)),
        (b"DELE 3", Dele(3)),
        (b"AUTH", Auth()),
        (b"auth plain", Auth("PLAIN")),
        (b"AUTH PLAIN =", Auth("PLAIN", b"=")),
        (b"LANG", Lang()),
        (b"LANG de-AT", Lang("de-at")),
        (b"LANG *", Lang("*")),
    ],
)
def test_commands(line: bytes, command: Command) -> None:
    assert parse_command(line) == command


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" ",
        b"FROB",
        b" STAT",
        b"STAT ",
        b"RETR",
        b"RETR 0",
        b"RETR +1",
        b"RETR x",
        b"RETR 1 ",
        b"RETR 99999999999",
        b"RETR \xd9\xa1",
        b"TOP 1",
        b"TOP 1 ",
        b"TOP 1 -1",
        b"QUIT now",
        b"USER",
        b"USER ",
        b"USER \xff",
        b"PASS",
        b"AUTH PLAIN ",
        b"AUTH PL@IN",
        b"LANG d3",
        b"LANG en de",
        b"UTF8 1",
    ],
)
def test_near_misses(line: bytes) -> None:
    with pytest.raises(SyntaxFault):
        parse_command(line)


@given(st.binary(max_size=300))
def test_any_line_has_one_answer(line: bytes) -> None:
    machine = session()
    (step,) = machine.receive(line.replace(b"\r\n", b"") + b"\r\n")
    if isinstance(step, Reply):
        assert len(step.octets.partition(b"\r\n")[0]) <= 510
    else:
        assert isinstance(step, Authenticate | Bye | StartTls)


def played(stream: bytes, borders: list[int]) -> list[object]:
    """All steps of a session whose octets come in pieces."""
    machine = session()
    found: list[object] = []
    for start, end in pairwise(borders):
        for step in machine.receive(stream[start:end]):
            found.append(step)
            match step:
                case LogIn():
                    found.append(machine.logged_in(maildrop(10, 20)))
                case Authenticate(_, None):
                    found.append(machine.challenge())
                case SaslResponse():
                    found.append(machine.refused(LoginRefused("no")))
                case Update():
                    found.append(machine.updated())
    return found


@given(st.lists(st.integers(min_value=1, max_value=900), max_size=8))
def test_cutting_changes_nothing(cuts: list[int]) -> None:
    stream = (
        b"AUTH PLAIN\r\nabc=\r\nUSER alice\r\n" + b"x" * 300 + b"\r\nUSER alice\r\nPASS x\r\nSTAT\r\n\r\r\nTOP 1 0\r\n"
    )
    stream += b"y" * 255 + b"\r\nDELE 2\r\nUIDL\r\nQUIT\r\n"
    borders = [0, *sorted({cut for cut in cuts if cut < len(stream)}), len(stream)]
    assert played(stream, borders) == played(stream, [0, len(stream)])


def test_lines_and_their_limit() -> None:
    reader = LineReader()
    reader.feed(b"a" * 253 + b"\r\n" + b"b" * 254 + b"\r\nc\r")
    first, second = reader.lines()
    assert first == b"a" * 253
    assert isinstance(second, LineTooLong)
    reader.feed(b"\n")
    assert list(reader.lines()) == [b"c"]


def test_a_line_without_end_is_given_up() -> None:
    machine = session()
    for _ in range(65):
        assert list(machine.receive(b"x" * 1000)) == []
    with pytest.raises(Garbage):
        list(machine.receive(b"x" * 1000))


def test_what_is_allowed_when() -> None:
    machine = session()
    assert said(machine, b"STAT\r\nPASS x\r\nNOOP\r\n") == [
        b"-ERR not in the AUTHORIZATION state",
        b"-ERR USER comes first",
        b"+OK",
    ]
    machine.logged_in(maildrop())
    assert said(machine, b"USER x\r\nSTLS\r\n") == [b"-ERR not in the TRANSACTION state"] * 2
    (step,) = machine.receive(b"QUIT\r\n")
    assert step == Update([])


def test_quit_before_login_removes_nothing() -> None:
    (step,) = session().receive(b"QUIT\r\n")
    assert isinstance(step, Bye)


def test_quit_says_what_to_remove() -> None:
    machine = session()
    machine.logged_in(maildrop(1, 2, 3))
    assert said(machine, b"DELE 3\r\nDELE 1\r\n") == [b"+OK message 3 deleted", b"+OK message 1 deleted"]
    (step,) = machine.receive(b"QUIT\r\n")
    assert step == Update([1, 3])
    assert machine.not_updated(TemporaryFailure("x")).octets == b"-ERR [SYS/TEMP] x\r\n"


def test_no_password_in_clear_unless_allowed() -> None:
    machine = session(may_log_in=False)
    assert said(machine, b"USER x\r\nAUTH PLAIN\r\n") == [b"-ERR start TLS before you log in"] * 2
    assert "USER" not in machine.capabilities()
    (step,) = machine.receive(b"STLS\r\n")
    assert isinstance(step, StartTls)
    machine.secured(("PLAIN", "SCRAM-SHA-256-PLUS"))
    assert "USER" in machine.capabilities()
    assert "STLS" not in machine.capabilities()
    assert "SASL PLAIN SCRAM-SHA-256-PLUS" in machine.capabilities()


def test_what_came_in_clear_is_forgotten() -> None:
    machine = session()
    steps = machine.receive(b"USER a\r\nSTLS\r\nPASS b\r\n")
    next(steps)
    assert isinstance(next(steps), StartTls)
    machine.secured(("PLAIN", "SCRAM-SHA-256-PLUS"))
    assert list(steps) == []
    assert said(machine, b"PASS b\r\n") == [b"-ERR USER comes first"]


def test_capabilities_say_what_is_true_now() -> None:
    machine = session(login_delay_s=60)
    assert {"EXPIRE 1 USER", "LOGIN-DELAY 60", "SASL PLAIN"} <= set(machine.capabilities())
    machine.logged_in(maildrop(), 30)
    assert {"EXPIRE 30", "LOGIN-DELAY 60"} <= set(machine.capabilities())
    assert "STLS" not in machine.capabilities()


def test_guessing_ends_the_session_but_a_busy_maildrop_does_not() -> None:
    machine = session()
    for _ in range(10):
        assert isinstance(machine.refused(InUse("x")), Reply)
    for _ in range(4):
        assert isinstance(machine.refused(LoginRefused("x")), Reply)
    assert isinstance(machine.refused(LoginRefused("x")), Bye)


def test_a_response_that_cancels() -> None:
    machine = session()
    (step,) = machine.receive(b"AUTH PLAIN\r\n")
    assert step == Authenticate("PLAIN", None)
    machine.challenge()
    assert said(machine, b"*\r\nNOOP\r\n") == [b"-ERR [AUTH] the login was cancelled", b"+OK"]


def test_secrets_are_not_shown() -> None:
    shown = repr([Pass("geheim"), LogIn("a", "geheim"), SaslResponse(b"geheim"), Authenticate("PLAIN", b"geheim")])
    assert "geheim" not in shown


def test_a_maildrop_keeps_its_numbers() -> None:
    drop = maildrop(10, 20, 30)
    drop.delete(2)
    assert drop.stat() == (2, 40)
    assert list(drop.remaining()) == [1, 3]
    with pytest.raises(NoSuchMessage):
        drop.entry(2)
    with pytest.raises(NoSuchMessage):
        drop.delete(2)
    with pytest.raises(NoSuchMessage):
        drop.delete(4)
    assert drop.marked_uids() == [2]
    drop.reset()
    assert drop.marked_uids() == []
    assert drop.stat() == (3, 60)


def test_unique_ids_are_the_email_ids() -> None:
    same, other = UUID(int=1), UUID(int=2)
    drop = Maildrop([5, 7, 9], [1, 1, 1], [same] * 3, [same, other, same])
    assert [drop.unique_id(msg) for msg in (1, 2, 3)] == [same.hex, other.hex, f"{same.hex}.9"]


def test_retrieving_in_utf8_mode() -> None:
    machine = session()
    assert said(machine, b"UTF8\r\nSTLS\r\n")[0].startswith(b"+OK")
    machine.logged_in(maildrop(10))
    (step,) = machine.receive(b"TOP 1 3\r\n")
    assert isinstance(step, Send)
    assert (step.msg, step.lines, step.is_utf8) == (1, 3, True)
    assert parse_command(b"QUIT") == Quit()


def test_a_line_so_long_is_no_command_however_it_arrives() -> None:
    line = b"x" * 65_537 + b"\r\n"
    for cuts in ([line], [line[:65_000], line[65_000:]], [line[:-1], line[-1:]]):
        machine = session()
        with pytest.raises(Garbage):
            [list(machine.receive(piece)) for piece in cuts]
    (step,) = session().receive(line[1:])
    assert isinstance(step, Reply)
