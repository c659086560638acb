"""IMAP as clients use it: flags, copies, push, and errors that leave the session usable."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientError, LoginError

from mail_testkit.clients import HOST, TIMEOUT_S, Rest, User, deliver, open_pop3
from mail_testkit.running import RunningPostroom

Connect = Callable[[User], IMAPClient]
MESSAGE = b"From: Ada <ada@elsewhere.test>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nthe body\r\n"


class RawClient:
    """A socket and lines, for what no client library would send."""

    def __init__(self, postroom: RunningPostroom) -> None:
        self._socket = socket.create_connection((HOST, postroom.ports["imap"]), timeout=TIMEOUT_S)
        self._file = self._socket.makefile("rb")
        assert self.line().startswith(b"* OK")

    def send(self, octets: bytes) -> None:
        self._socket.sendall(octets)

    def line(self) -> bytes:
        return self._file.readline()

    def answer(self, tag: bytes) -> bytes:
        """The tagged reply; untagged ones before it are passed over."""
        while not (line := self.line()).startswith(tag + b" "):
            assert line, "the connection was closed"
        return line

    def ask(self, octets: bytes) -> bytes:
        self.send(octets + b"\r\n")
        return self.answer(octets.partition(b" ")[0])

    def close(self) -> None:
        self._file.close()
        self._socket.close()


def test_flags_copies_and_expunges(postroom: RunningPostroom, user: User, imap: Connect) -> None:
    deliver(postroom, user, MESSAGE, MESSAGE, MESSAGE)
    imap(user).select_folder("INBOX")  # the messages are \Recent for who comes first
    client = imap(user)
    assert client.select_folder("INBOX")[b"EXISTS"] == 3
    assert client.add_flags([1, 2], [b"\\Seen", b"$Work"])[1] == (b"\\Seen", b"$Work")
    assert client.remove_flags([2], [b"\\Seen"])[2] == (b"$Work",)
    assert client.set_flags([3], [b"\\Flagged"])[3] == (b"\\Flagged",)
    assert client.search("UNSEEN") == [2, 3]
    client.copy([1, 2], "Archive")
    client.move([3], "Trash")
    client.delete_messages([2])
    client.expunge()
    assert client.search("ALL") == [1]
    assert client.select_folder("Archive")[b"EXISTS"] == 2
    assert client.fetch([1], ["FLAGS"])[1][b"FLAGS"] == (b"\\Seen", b"$Work", b"\\Recent")
    assert client.folder_status("Trash", ["MESSAGES", "UIDNEXT"]) == {b"MESSAGES": 1, b"UIDNEXT": 2}


def test_searching(postroom: RunningPostroom, user: User, imap: Connect) -> None:
    client = imap(user)
    old = datetime(2001, 2, 3, 12, tzinfo=UTC)
    client.append("INBOX", MESSAGE, [b"\\Seen"], old)
    client.append("INBOX", b"Subject: other\r\nDate: Thu, 1 Jan 2015 12:00:00 +0000\r\n\r\nthe Body, as base\r\n")
    client.select_folder("INBOX")
    expected = {
        ("ALL",): [1, 2],
        ("SEEN",): [1],
        ("SUBJECT", "grüße"): [1],
        ("FROM", "ADA"): [1],
        ("BODY", "THE BODY"): [1, 2],
        ("TEXT", "as base"): [2],
        ("NOT", "TEXT", "as base"): [1],
        ("OR", "SUBJECT", "other", "SEEN"): [1, 2],
        ("BEFORE", "1-Jan-2002"): [1],
        ("ON", "3-Feb-2001"): [1],
        ("SENTON", "1-Jan-2015"): [2],
        ("SMALLER", "85"): [2] if len(MESSAGE) >= 85 else [1, 2],
        ("HEADER", "From", ""): [1],
        ("UID", "2:*", "UNSEEN"): [2],
        ("KEYWORD", "$Nothing"): [],
    }
    for criteria, uids in expected.items():
        assert client.search(list(criteria), charset="UTF-8") == uids, criteria


def test_sorting_and_threading(user: User, imap: Connect) -> None:
    client = imap(user)
    for head in (
        b"Message-ID: <a@x>\r\nSubject: b\r\nFrom: Zoe <a@x.test>\r\nDate: Thu, 1 Jan 2015 12:00:00 +0000\r\n",
        b"Message-ID: <b@x>\r\nReferences: <a@x>\r\nSubject: Re: b\r\nDate: Fri, 2 Jan 2015 12:00:00 +0000\r\n",
        b"Subject: [x] A\r\nFrom: b@x.test\r\nDate: Wed, 31 Dec 2014 12:00:00 +0000\r\n",
        b"Message-ID: <c@x>\r\nIn-Reply-To: <a@x>\r\nSubject: c\r\nDate: Thu, 1 Jan 2015 13:00:00 +0000\r\n",
    ):
        client.append("INBOX", head + b"\r\nword\r\n")
    client.select_folder("INBOX")
    client.delete_messages([3])
    client.append("INBOX", b"Subject: a\r\nDate: Thu, 1 Jan 2009 13:00:00 +0000\r\n\r\nother\r\n")
    client.expunge()
    assert {b"SORT", b"SORT=DISPLAY", b"THREAD=REFERENCES", b"THREAD=ORDEREDSUBJECT"} <= set(client.capabilities())
    assert client.sort(["SUBJECT", "REVERSE DATE"]) == [5, 2, 1, 4]
    assert client.sort("REVERSE DISPLAYFROM", ["BODY", "WORD"]) == [1, 2, 4]
    assert client.thread("REFERENCES") == ((5,), (1, (4,), (2,)))
    assert client.thread("ORDEREDSUBJECT", "BODY word") == ((1, 2), (4,))
    client.use_uid = False
    assert client.sort("ARRIVAL") == [1, 2, 3, 4]
    assert client.thread("REFERENCES") == ((4,), (1, (3,), (2,)))
    assert client.sort("ARRIVAL", "TEXT nothing") == []
    assert client.thread("REFERENCES", "TEXT nothing") == ()


def test_mailboxes(user: User, imap: Connect) -> None:
    client = imap(user)
    client.create_folder("Projekte/Grüße & 你好")
    names = [name for _, _, name in client.list_folders()]
    assert names[0] == "INBOX"
    assert {"Projekte", "Projekte/Grüße & 你好", "Sent"} <= set(names)
    client.rename_folder("Projekte", "Old/Projekte")
    assert client.select_folder("Old/Projekte/Grüße & 你好")[b"EXISTS"] == 0
    client.unsubscribe_folder("Old")
    assert "Old" not in [name for _, _, name in client.list_sub_folders()]
    flags = {name: set(flags) for flags, _, name in client.list_folders()}
    assert b"\\Sent" in flags["Sent"]
    assert b"\\HasChildren" in flags["Old"]
    client.delete_folder("Old/Projekte/Grüße & 你好")
    with pytest.raises(IMAPClientError, match="NONEXISTENT"):
        client.select_folder("Old/Projekte/Grüße & 你好")


def test_a_deleted_mailbox_leaves_its_inferiors_and_its_subscription(
    postroom: RunningPostroom, user: User, imap: Connect
) -> None:
    """RFC 9051 §6.3.5, §6.3.7."""
    client = imap(user)
    client.create_folder("above/below")
    for name in ("above", "above/below"):
        client.subscribe_folder(name)
    client.delete_folder("above")
    flags = {name: set(flags) for flags, _, name in client.list_folders()}
    assert flags["above"] == {b"\\NonExistent", b"\\Noselect", b"\\HasChildren"}
    assert "above/below" in flags
    client.delete_folder("above/below")
    assert not {"above", "above/below"} & {name for _, _, name in client.list_folders()}
    assert {"above", "above/below"} <= {name for _, _, name in client.list_sub_folders()}
    client.unsubscribe_folder("above/below")
    assert "above/below" not in {name for _, _, name in client.list_sub_folders()}
    with pytest.raises(IMAPClientError, match="NONEXISTENT"):
        client.subscribe_folder("above/below")


def test_mail_is_pushed_while_idle(postroom: RunningPostroom, user: User, imap: Connect) -> None:
    client, other = imap(user), imap(user)
    client.select_folder("INBOX")
    client.idle()
    deliver(postroom, user, MESSAGE)
    assert (1, b"EXISTS") in client.idle_check(timeout=TIMEOUT_S)
    other.select_folder("INBOX")
    other.add_flags([1], [b"\\Deleted"])
    pushed = client.idle_check(timeout=TIMEOUT_S)
    assert any(response[:2] == (1, b"FETCH") for response in pushed)
    other.expunge()
    assert (1, b"EXPUNGE") in client.idle_check(timeout=TIMEOUT_S)
    client.idle_done()


def test_numbers_stay_until_they_may_change(postroom: RunningPostroom, user: User, imap: Connect) -> None:
    """RFC 3501 §7.4.1: no EXPUNGE while FETCH by number; what is gone is reported (RFC 2180 §4.1)."""
    deliver(postroom, user, *[MESSAGE] * 3)
    other = imap(user)
    other.select_folder("INBOX")
    raw = RawClient(postroom)
    assert raw.ask(b"a LOGIN %b %b" % (user.address.encode(), user.password.encode())).startswith(b"a OK")
    raw.ask(b"b SELECT INBOX")
    other.delete_messages([1])
    other.expunge()
    raw.send(b"c FETCH 1:3 (UID FLAGS BODY.PEEK[])\r\n")
    lines = []
    while not (line := raw.line()).startswith(b"c "):
        lines.append(line)
    assert not [line for line in lines if b"EXPUNGE" in line]
    assert [line[:10] for line in lines if b" FETCH (UID" in line] == [b"* 2 FETCH ", b"* 3 FETCH "]
    assert line.startswith(b"c OK [EXPUNGEISSUED]")
    raw.send(b"d NOOP\r\n")
    assert raw.line() == b"* 1 EXPUNGE\r\n"
    assert raw.answer(b"d").startswith(b"d OK")
    raw.close()


def test_a_refused_login(postroom: RunningPostroom, user: User) -> None:
    client = IMAPClient(HOST, postroom.ports["imap"], ssl=False, timeout=TIMEOUT_S)
    with pytest.raises(LoginError, match="AUTHENTICATIONFAILED"):
        client.login(user.address, "wrong password")
    client.login(user.address, user.password)
    client.logout()


def test_errors_leave_the_session_usable(postroom: RunningPostroom, user: User) -> None:
    raw = RawClient(postroom)
    login = b"LOGIN %b %b" % (user.address.encode(), user.password.encode())
    asked = [
        (b"a1 FROBNICATE", b"a1 BAD"),
        (b"a2 SELECT INBOX", b"a2 BAD"),
        (b"a3 " + login, b"a3 OK"),
        (b"a4 SELECT Nowhere", b"a4 NO [NONEXISTENT]"),
        (b"a5 FETCH 1 FLAGS", b"a5 BAD"),
        (b"a6 SELECT INBOX", b"a6 OK [READ-WRITE]"),
        (b"a7 FETCH 1 (FLAGS", b"a7 BAD"),
        (b"a8 FETCH 0 FLAGS", b"a8 BAD"),
        (b"a9 STORE 1 +FLAGS (a{b)", b"a9 BAD"),
        (b"b1 SEARCH CHARSET KLINGON TEXT x", b"b1 NO [BADCHARSET"),
        (b"b2 COPY 1 Nowhere", b"b2 NO [TRYCREATE]"),
        (b"b3 CREATE INBOX", b"b3 NO [ALREADYEXISTS]"),
        (b"b4 DELETE INBOX", b"b4 NO [CANNOT]"),
        (b"b5 LOGIN a b", b"b5 BAD"),
        (b"b6 NOOP", b"b6 OK"),
    ]
    for command, expected in asked:
        assert raw.ask(command).startswith(expected), command
    raw.close()


def test_an_oversized_append_is_refused_before_it_is_sent(postroom: RunningPostroom, user: User) -> None:
    raw = RawClient(postroom)
    raw.ask(b"a LOGIN %b %b" % (user.address.encode(), user.password.encode()))
    assert raw.ask(b"b APPEND INBOX {99999999}").startswith(b"b NO [TOOBIG]")
    raw.send(b"c APPEND INBOX {60000000+}\r\n" + b"x" * 60_000_000 + b"\r\n")
    assert raw.answer(b"c").startswith(b"c NO [TOOBIG]")
    assert raw.ask(b"d STATUS INBOX (MESSAGES)").startswith(b"d OK")
    raw.close()


def test_a_client_that_leaves_within_a_literal_stores_nothing(
    postroom: RunningPostroom, user: User, rest: Rest
) -> None:
    raw = RawClient(postroom)
    raw.ask(b"a LOGIN %b %b" % (user.address.encode(), user.password.encode()))
    raw.send(b"b APPEND INBOX {1000+}\r\nSubject: half")
    raw.close()
    other = RawClient(postroom)
    other.ask(b"a LOGIN %b %b" % (user.address.encode(), user.password.encode()))
    other.send(b"b APPEND INBOX {12+}\r\nSubject: x\r\n\r\n")
    assert other.answer(b"b").startswith(b"b OK [APPENDUID ")
    other.close()
    assert [message["subject"] for message in rest.messages(user)] == ["x"]


def test_a_line_without_end_ends_the_connection(postroom: RunningPostroom) -> None:
    raw = RawClient(postroom)
    raw.send(b"a " + b"x" * 200_000)
    assert raw.line().startswith(b"* BYE")
    raw.close()


def test_tls_and_what_was_injected_before_it(postroom: RunningPostroom, user: User) -> None:
    context = ssl.create_default_context(cafile=str(postroom.certificate))
    with socket.create_connection((HOST, postroom.ports["imap"]), timeout=TIMEOUT_S) as plain:
        plain.recv(1000)
        plain.sendall(b"a STARTTLS\r\nb NOOP\r\n")
        assert plain.recv(1000).startswith(b"a OK")
        with context.wrap_socket(plain, server_hostname="localhost") as secure:
            secure.sendall(b"c NOOP\r\n")
            assert secure.recv(1000).startswith(b"c OK"), "b was sent in clear: it is forgotten"
    client = IMAPClient(HOST, postroom.ports["imaps"], ssl_context=context, timeout=TIMEOUT_S)
    client.login(user.address, user.password)
    client.logout()


def test_pop3_removes_and_imap_sees_it(postroom: RunningPostroom, user: User, imap: Connect) -> None:
    deliver(postroom, user, MESSAGE, MESSAGE)
    client = imap(user)
    client.select_folder("INBOX")
    client.idle()
    pop3 = open_pop3(postroom, user)
    pop3.dele(1)
    pop3.quit()
    assert (1, b"EXPUNGE") in client.idle_check(timeout=TIMEOUT_S)
    client.idle_done()


def test_many_sessions_of_one_mailbox_agree(postroom: RunningPostroom, user: User, imap: Connect) -> None:
    deliver(postroom, user, *[MESSAGE] * 10)
    clients = [imap(user) for _ in range(4)]
    for client in clients:
        client.select_folder("INBOX")
    for number, client in enumerate(clients, 1):
        client.add_flags([number], [b"\\Seen"])
        client.move([10 - number], "Archive")
    for client in clients:
        client.noop()
        assert client.search("ALL") == [1, 2, 3, 4, 5, 10]
        assert client.search("SEEN") == [1, 2, 3, 4]


def test_a_huge_header_is_read_in_full(user: User, imap: Connect) -> None:
    """Longer than what is kept of it for quick answers."""
    client = imap(user)
    client.append("INBOX", b"Subject: first\r\n" + b"X-Long: y\r\n" * 40_000 + b"X-Last: here\r\n\r\nbody\r\n")
    client.select_folder("INBOX")
    fetched = client.fetch([1], ["BODY.PEEK[HEADER.FIELDS (X-Last)]", "BODY.PEEK[HEADER]"])[1]
    assert fetched[b"BODY[HEADER.FIELDS (X-LAST)]"] == b"X-Last: here\r\n\r\n"
    assert fetched[b"BODY[HEADER]"].endswith(b"X-Last: here\r\n\r\n")


def test_a_literal_before_login_is_not_taken(postroom: RunningPostroom) -> None:
    raw = RawClient(postroom)
    raw.send(b"a APPEND INBOX {50000000}\r\n")
    assert not raw.line().startswith(b"+"), "nobody fills our memory without a login"
    raw.close()


def test_literals_of_a_refused_command_are_not_commands(postroom: RunningPostroom, user: User) -> None:
    raw = RawClient(postroom)
    login = b"LOGIN %b %b" % (user.address.encode(), user.password.encode())
    raw.ask(b"a " + login)
    raw.send(b"b RENAME {70000+}\r\n" + b"x" * 70_000 + b" {15+}\r\nc CREATE hidden\r\nd NOOP\r\n")
    assert raw.answer(b"d").startswith(b"d OK")
    raw.send(b'e LIST "" hidden\r\n')
    assert raw.line().startswith(b"e OK"), "nothing was created"
    raw.close()
