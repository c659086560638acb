"""Clients that are broken, slow, silent or hostile: they are told so or cut off, and others notice nothing."""

from __future__ import annotations

import asyncio
import imaplib
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imap.metrics import CONNECTIONS
from mail_testkit.clients import HOST, TIMEOUT_S, Rest, User, deliver
from mail_testkit.replicas import Replica
from mail_testkit.running import RunningPostroom


class Raw:
    """A socket and lines."""

    def __init__(self, port: int, user: User | None = None) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=TIMEOUT_S)
        self._file = self.socket.makefile("rb")
        assert self.line().startswith(b"* OK")
        if user is not None:
            assert b" OK " in self.ask(f"in LOGIN {user.address} {user.password}".encode())

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def line(self) -> bytes:
        return self._file.readline()

    def ask(self, octets: bytes) -> bytes:
        """The tagged reply; untagged ones are passed over."""
        tag = octets.partition(b" ")[0]
        self.send(octets + b"\r\n")
        while not (line := self.line()).startswith(tag + b" "):
            assert line, "the connection was closed"
        return line

    def close(self) -> None:
        self._file.close()
        self.socket.close()


@pytest.fixture
def user(postroom: RunningPostroom) -> User:
    return Rest(postroom).make_user()


@contextmanager
def raw(port: int, user: User | None = None) -> Iterator[Raw]:
    client = Raw(port, user)
    try:
        yield client
    finally:
        client.close()


def resident_octets(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_deeply_nested_search_keys(postroom: RunningPostroom, user: User) -> None:
    with raw(postroom.ports["imap"], user) as client:
        client.ask(b"a SELECT INBOX")
        for depth in (60, 10_000):
            assert client.ask(b"b SEARCH " + b"(" * depth + b"ALL" + b")" * depth).startswith(b"b BAD")
            assert client.ask(b"c SEARCH " + b"NOT " * depth + b"ALL").startswith(b"c BAD")
        assert client.ask(b"d SEARCH " + b"ALL " * 3_000).startswith(b"d BAD")
        assert client.ask(b"e SEARCH " + b"NOT " * 30 + b"ALL").startswith(b"e OK")


def test_deeply_nested_mime(postroom: RunningPostroom, user: User) -> None:
    parts = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(1_000))
    deliver(postroom, user, b"Subject: deep\r\n" + parts + b"\r\nthe end\r\n")
    with raw(postroom.ports["imap"], user) as client:
        client.ask(b"a SELECT INBOX")
        assert client.ask(b"b FETCH 1 (BODYSTRUCTURE ENVELOPE PREVIEW)").startswith(b"b OK")
        assert client.ask(b"c FETCH 1 BODY.PEEK[" + b"1." * 99 + b"1]").startswith(b"c OK")
        assert client.ask(b"d FETCH 1 BODY.PEEK[" + b"1." * 200 + b"1]").startswith(b"d BAD")


def test_literals_over_the_limit_are_refused_before_they_are_sent(postroom: RunningPostroom, user: User) -> None:
    with raw(postroom.ports["imap"], user) as client:
        assert client.ask(b"a APPEND INBOX {999999999}").startswith(b"a NO [TOOBIG]")
        assert client.ask(b"b SEARCH SUBJECT {70000}").startswith(b"b BAD")
        # One that isn't waited for is read and thrown away, and the session goes on.
        client.send(b"c APPEND INBOX {60000000+}\r\n")
        piece = bytes(1_000_000)
        for _ in range(60):
            client.send(piece)
        client.send(b"\r\n")
        assert client.line().startswith(b"c NO [TOOBIG]")
        assert client.ask(b"d NOOP").startswith(b"d OK")
        client.send(b"e APPEND INBOX {999999999+}\r\n")
        assert client.line().startswith(b"* BYE")


def test_many_flags_and_names_beyond_measure(postroom: RunningPostroom, user: User) -> None:
    deliver(postroom, user, b"Subject: x\r\n\r\n")
    with raw(postroom.ports["imap"], user) as client:
        client.ask(b"a SELECT INBOX")
        many = b" ".join(b"$k%d" % n for n in range(500))
        assert client.ask(b"b STORE 1 +FLAGS (" + many + b")").startswith(b"b NO")
        assert client.ask(b"c STORE 1 +FLAGS (" + b"x" * 5_000 + b")").startswith(b"c NO")
        assert client.ask(b"d CREATE " + b"x" * 5_000).startswith(b"d NO [CANNOT]")
        assert client.ask(b"e CREATE " + b"/".join([b"x"] * 500)).startswith(b"e NO [CANNOT]")
        assert client.ask(b"f FETCH " + b",".join(b"%d" % n for n in range(1, 9_000)) + b" UID").startswith(b"f BAD")
        assert client.ask(b"g UID FETCH 1:4294967295,1:* UID").startswith(b"g OK")


def test_a_peer_that_reads_nothing_is_cut_off_in_bounded_memory(
    postroom: RunningPostroom, user: User, replica: Replica
) -> None:
    """It asks for a gigabyte. The replica runs in this very process: what it holds back would be seen."""
    port = replica(send_timeout_s=2.0)["imap"]
    with imaplib.IMAP4(HOST, port, timeout=TIMEOUT_S) as client:
        client.login(user.address, user.password)
        client.append("INBOX", "", "", b"Subject: large\r\n\r\n" + b"x" * 998 + (b"\r\n" + b"y" * 998) * 5_000)
    before = resident_octets(os.getpid())
    with raw(port, user) as greedy, raw(port, user) as other:
        greedy.ask(b"a SELECT INBOX")
        greedy.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        greedy.send(b"".join(b"g%d FETCH 1 BODY.PEEK[]\r\n" % n for n in range(200)))
        # Others go on meanwhile.
        deadline = time.monotonic() + TIMEOUT_S
        while _open_connections() > 1:
            assert other.ask(b"b NOOP").startswith(b"b OK")
            assert time.monotonic() < deadline, "it wasn't cut off"
    assert resident_octets(os.getpid()) - before < 150_000_000


def _open_connections() -> float:
    """Of the replicas in this process."""
    return next(iter(CONNECTIONS.collect())).samples[0].value


def test_silent_clients_are_told_and_left(replica: Replica, user: User) -> None:
    with raw(replica(login_timeout_s=0.5)["imap"]) as silent:
        assert silent.line().startswith(b"* BYE time-out")
        assert silent.line() == b""
    # Long enough for a client on a busy machine to say something between two replies.
    port = replica(idle_timeout_s=4.0)["imap"]
    with raw(port, user) as idle, raw(port, user) as half:
        idle.send(b"a IDLE\r\n")
        half.send(b"a SELECT INB")
        assert idle.line() == b"+ idling\r\n"
        for client in (idle, half):
            assert client.line().startswith(b"* BYE time-out")


def test_a_client_that_hangs_up_in_the_middle(replica: Replica, user: User) -> None:
    port = replica()["imap"]
    for octets in (b"", b"a SEL", b"a APPEND INBOX {1000}\r\nabc", b"a IDLE\r\n", b"a AUTHENTICATE PLAIN\r\n"):
        with raw(port, None if octets.startswith(b"a AUTH") else user) as client:
            client.send(octets)
    with raw(port, user) as client:
        assert b"MESSAGES 0" in _untagged(client, b"b STATUS INBOX (MESSAGES)")


def _untagged(client: Raw, command: bytes) -> bytes:
    client.send(command + b"\r\n")
    found = client.line()
    client.line()
    return found


def test_thousands_of_connections_that_never_log_in(postroom: RunningPostroom, user: User) -> None:
    """Those beyond the limit are told so; whoever is logged in notices nothing, and who leaves makes room."""
    port, pid = postroom.ports["imap"], postroom.pid("imap")
    number = 1_500

    async def crowd() -> int:
        before = resident_octets(pid)
        connected = [await asyncio.open_connection(HOST, port) for _ in range(number)]
        greetings = [await asyncio.wait_for(reader.readline(), TIMEOUT_S) for reader, _ in connected]
        assert all(greeting.startswith(b"* OK") for greeting in greetings)
        grown = resident_octets(pid) - before
        assert member.ask(b"a NOOP").startswith(b"a OK")
        for _, writer in connected:
            writer.close()
        return grown // number

    with raw(port, user) as member:
        assert asyncio.run(crowd()) < 60_000
        assert member.ask(b"b NOOP").startswith(b"b OK")


def test_more_connections_than_allowed(replica: Replica, user: User) -> None:
    port = replica(max_connections=2)["imap"]
    with raw(port, user) as first, raw(port, user):
        with socket.create_connection((HOST, port), timeout=TIMEOUT_S) as third:
            assert third.makefile("rb").readline().startswith(b"* BYE too many connections")
        assert first.ask(b"a NOOP").startswith(b"a OK")
