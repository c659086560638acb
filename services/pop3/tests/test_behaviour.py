"""What a POP3 session does to messages and what it doesn't put up with: flags, sizes, ids, slow and silent clients."""

from __future__ import annotations

import contextlib
import imaplib
import poplib
import socket

import psutil
import pytest

from mail_testkit.clients import HOST, TIMEOUT_S, Rest, User, deliver, open_pop3, retrieve
from mail_testkit.replicas import Replica
from mail_testkit.running import RunningPostroom

MESSAGE = b"Subject: x\r\n\r\nbody\r\n"
EIGHT_BIT = b"Subject: Gr\xc3\xbc\xc3\x9fe\r\n\r\nbody\r\n"
LARGE_OCTETS = 50_000_000
# One large message passes in pieces of 256 KiB; the rest is the noise of an allocator.
GROWTH_OCTETS = 24 * 1024 * 1024


@pytest.fixture
def user(postroom: RunningPostroom) -> User:
    return Rest(postroom).make_user()


def imap(postroom: RunningPostroom, user: User) -> imaplib.IMAP4:
    client = imaplib.IMAP4(HOST, postroom.ports["imap"], timeout=TIMEOUT_S)
    client.login(user.address, user.password)
    client.select("INBOX")
    return client


def seen(postroom: RunningPostroom, user: User) -> list[str]:
    with imap(postroom, user) as client:
        return str(client.search(None, "SEEN")[1][0].decode()).split()


def log_in(port: int, user: User) -> poplib.POP3:
    client = poplib.POP3(HOST, port, timeout=TIMEOUT_S)
    try:
        client.user(user.address)
        client.pass_(user.password)
    except poplib.error_proto:
        client.close()
        raise
    return client


def ids(client: poplib.POP3) -> list[bytes]:
    return [line.split()[1] for line in client.uidl()[1]]


def test_retrieving_sets_seen_and_top_does_not(postroom: RunningPostroom, user: User) -> None:
    deliver(postroom, user, MESSAGE, MESSAGE, MESSAGE)
    client = open_pop3(postroom, user)
    client.top(1, 1)
    client.retr(2)
    client.quit()
    assert seen(postroom, user) == ["2"]


def test_flags_stay_by_setting(postroom: RunningPostroom, replica: Replica, user: User) -> None:
    deliver(postroom, user, MESSAGE)
    client = log_in(replica(retrieving_sets_seen=False)["pop3"], user)
    client.retr(1)
    client.quit()
    assert seen(postroom, user) == []


def test_unique_ids_survive_a_copy_a_way_back_and_a_restore(postroom: RunningPostroom, user: User) -> None:
    rest = Rest(postroom)
    deliver(postroom, user, MESSAGE, EIGHT_BIT)
    client = open_pop3(postroom, user)
    first, second = ids(client)
    client.dele(1)
    client.quit()
    with imap(postroom, user) as mail:
        mail.copy("1", "Archive")
        mail.store("1", "+FLAGS", "\\Deleted")
        mail.expunge()
        mail.select("Archive")
        mail.copy("1", "INBOX")
    client = open_pop3(postroom, user)
    assert ids(client) == [second], "moved there and back"
    client.quit()
    deleted = [found["id"] for found in rest.items(f"/v1/accounts/{user.address}/deleted")]
    body = {"ids": sorted(set(deleted))}
    assert rest.call("POST", f"/v1/accounts/{user.address}/undelete", body)[0] == 200
    client = open_pop3(postroom, user)
    found = ids(client)
    assert {first, second} <= set(found)
    assert len(set(found)) == len(found), "a second copy has an id of its own"
    client.quit()


def test_expire_is_the_retention_of_the_mailbox(postroom: RunningPostroom, user: User) -> None:
    rest = Rest(postroom)
    boxes = rest.get(f"/v1/accounts/{user.address}/mailboxes")["items"]
    inbox = next(box for box in boxes if box["name"] == "INBOX")
    path = f"/v1/accounts/{user.address}/mailboxes/{inbox['id']}"
    assert rest.call("PATCH", path, {"retention_days": 30})[0] == 200
    client = poplib.POP3(HOST, postroom.ports["pop3"], timeout=TIMEOUT_S)
    assert client.capa()["EXPIRE"] == ["1", "USER"]
    client.user(user.address)
    client.pass_(user.password)
    assert client.capa()["EXPIRE"] == ["30"]
    client.quit()


def test_headers_that_are_not_ascii(postroom: RunningPostroom, replica: Replica, user: User) -> None:
    deliver(postroom, user, MESSAGE, EIGHT_BIT)
    client = open_pop3(postroom, user)
    assert retrieve(client, 2).endswith(EIGHT_BIT), "as it is, by default"
    client.quit()
    port = replica(refuses_8bit_headers=True)["pop3"]
    client = log_in(port, user)
    with pytest.raises(poplib.error_proto, match=r"\[UTF8\]"):
        client.retr(2)
    with pytest.raises(poplib.error_proto, match=r"\[UTF8\]"):
        client.top(2, 0)
    assert retrieve(client, 1).endswith(MESSAGE)
    client.quit()
    client = poplib.POP3(HOST, port, timeout=TIMEOUT_S)
    client.utf8()
    client.user(user.address)
    client.pass_(user.password)
    assert retrieve(client, 2).endswith(EIGHT_BIT)
    client.quit()


def large_message() -> bytes:
    line = b"x" * 75 + b".\r\n"
    return b"Subject: large\r\n\r\n" + line * (LARGE_OCTETS // len(line))


def test_a_large_message_in_constant_memory(postroom: RunningPostroom, user: User) -> None:
    octets = large_message()
    deliver(postroom, user, octets)
    client = open_pop3(postroom, user)
    retrieve_top = client.top(1, 3)[1]
    assert retrieve_top[-3:] == [b"x" * 75 + b"."] * 3
    process = psutil.Process(postroom.pid("pop3"))
    before = process.memory_info().rss
    highest = before
    client._shortcmd("RETR 1")  # type: ignore[attr-defined]
    received = bytearray()
    while not received.endswith(b"\r\n.\r\n"):
        received += client.file.read1(1_000_000)
        highest = max(highest, process.memory_info().rss)
    assert received[:-3].endswith(octets)
    assert highest - before < GROWTH_OCTETS
    client.quit()


def test_a_client_that_does_not_read_is_cut_off(postroom: RunningPostroom, replica: Replica, user: User) -> None:
    deliver(postroom, user, large_message())
    port = replica(idle_timeout_s=1.0)["pop3"]
    with socket.create_connection((HOST, port), timeout=TIMEOUT_S) as slow:
        slow.sendall(f"USER {user.address}\r\nPASS {user.password}\r\nRETR 1\r\n".encode())
        replies = b""
        while replies.count(b"+OK") < 4:  # greeting, USER, PASS, RETR: it has the lock, and the message is on its way
            replies += slow.recv(100)
        open_again = None
        while open_again is None:  # the lock is free once the service has given up
            with contextlib.suppress(poplib.error_proto):
                open_again = open_pop3(postroom, user)
        assert open_again.stat()[0] == 1
        open_again.quit()
        received = b"x"
        total = b""
        while received:
            try:
                received = slow.recv(1_000_000)
            except ConnectionResetError:
                break
            total = (total + received)[-10:]
        assert not total.endswith(b"\r\n.\r\n"), "a message that was cut off has no end"


def test_a_silent_client_is_closed_without_a_word(replica: Replica, user: User) -> None:
    port = replica(idle_timeout_s=0.3)["pop3"]
    client = log_in(port, user)
    assert client.sock.recv(100) == b"", "RFC 1939 §3: no response"
    client.close()


def test_a_session_that_never_logs_in_is_closed(replica: Replica) -> None:
    port = replica(login_timeout_s=0.3)["pop3"]
    with socket.create_connection((HOST, port), timeout=TIMEOUT_S) as client:
        assert client.recv(100).startswith(b"+OK")
        with contextlib.suppress(ConnectionError):  # what comes after the end is answered with a reset
            client.sendall(b"CAPA\r\n")
            received = b"x"
            while received:
                received = client.recv(4096)


def test_too_many_connections_are_told_so(replica: Replica, user: User) -> None:
    port = replica(max_connections=1)["pop3"]
    first = log_in(port, user)
    with socket.create_connection((HOST, port), timeout=TIMEOUT_S) as second:
        assert second.recv(100).startswith(b"-ERR [SYS/TEMP]")
    assert first.noop().startswith(b"+OK")
    first.quit()


def test_garbage_harms_no_other_session(replica: Replica, user: User) -> None:
    port = replica()["pop3"]
    good = log_in(port, user)
    for junk in (b"\x16\x03\x01" + bytes(range(256)) * 400, b"\r\n" * 1000, b"x" * 100_000):
        with socket.create_connection((HOST, port), timeout=TIMEOUT_S) as bad:
            received = b"x"
            try:
                bad.sendall(junk)
                while received:
                    received = bad.recv(65_536)
            except ConnectionError:
                pass
        assert good.noop().startswith(b"+OK")
    good.quit()
