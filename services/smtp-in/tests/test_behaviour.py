"""smtp-in with a real store and real sockets: what needs time, memory, other settings, or the mailbox to be seen."""

from __future__ import annotations

import contextlib
import smtplib
import socket
from base64 import b64decode
from pathlib import Path

import pytest

from mail_testkit.clients import HOST, TIMEOUT_S, Rest, User, send_octets
from mail_testkit.replicas import Replica
from mail_testkit.running import RunningPostroom

MESSAGE = b"Subject: x\r\n\r\nbody\r\n"


@pytest.fixture
def rest(postroom: RunningPostroom) -> Rest:
    return Rest(postroom)


@pytest.fixture
def user(rest: Rest) -> User:
    return rest.make_user()


def client(port: int) -> smtplib.SMTP:
    return smtplib.SMTP(HOST, port, timeout=TIMEOUT_S)


def begin(mx: smtplib.SMTP, user: User, parameters: str = "") -> None:
    mx.ehlo()
    assert mx.docmd(f"MAIL FROM:<a@elsewhere.test>{parameters}")[0] == 250
    assert mx.docmd(f"RCPT TO:<{user.address}>")[0] == 250


def resident_mb(postroom: RunningPostroom) -> int:
    """The most that smtp-in ever had in memory."""
    status = Path(f"/proc/{postroom.process_id('smtp-in')}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def until_closed(connection: socket.socket) -> bytes:
    """All that is said before the end, which is a reset for a client that spoke after it."""
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while octets := connection.recv(65_536):
            said += octets
    return said


@pytest.mark.parametrize("said", [b"", b"NO", b"EHLO a\r\nMAIL"])
def test_a_client_that_says_nothing_more_is_told_so(replica: Replica, said: bytes) -> None:
    """RFC 5321 §4.5.3.2.7; a line that comes without end isn't waited for."""
    port = replica(command_timeout_s=0.2)["mx"]
    with socket.create_connection((HOST, port), timeout=TIMEOUT_S) as connection:
        with contextlib.suppress(ConnectionError):  # the time is over before it has begun, on a busy machine
            connection.sendall(said)
        assert until_closed(connection).endswith(b"421 4.4.2 time-out; closing the connection\r\n")


@pytest.mark.parametrize("command", [b"DATA\r\nSubject: half\r\n", b"BDAT 100 LAST\r\nhalf"])
@pytest.mark.parametrize("setting", ["data_timeout_s", "message_timeout_s"])
def test_a_client_that_stalls_within_data(
    replica: Replica, user: User, rest: Rest, command: bytes, setting: str
) -> None:
    port = replica(**{setting: 0.2})["mx"]
    with client(port) as mx:
        begin(mx, user)
        mx.send(command)
        assert mx.sock is not None
        assert until_closed(mx.sock).endswith(b"421 4.4.2 time-out; closing the connection\r\n")
        mx.close()
    assert rest.messages(user) == []


def test_mail_data_beyond_the_memory_of_all_connections(replica: Replica, user: User, rest: Rest) -> None:
    """RFC 1870 §6.1: 452, and the session goes on."""
    port = replica(max_buffered_octets=100_000)["mx"]
    large = MESSAGE + b"x" * 998 + b"\r\n"
    with client(port) as mx:
        assert send_octets(mx, "a@elsewhere.test", [user.address], large * 200)[0] == 452
        assert send_octets(mx, "a@elsewhere.test", [user.address], MESSAGE)[0] == 250
        begin(mx, user)
        mx.send(b"BDAT 200000 LAST\r\n" + b"x" * 200_000)
        assert mx.getreply() == (452, b"4.3.1 too much mail at the moment; try again later")
        assert send_octets(mx, "a@elsewhere.test", [user.address], large * 50)[0] == 250
    assert len(rest.messages(user)) == 2


def test_50_mb_in_one_line(postroom: RunningPostroom, user: User, rest: Rest) -> None:
    """As a command and as mail data: refused without being gathered, and the session goes on."""
    line = b"x" * 50_000_000
    with client(postroom.ports["smtp"]) as mx:
        mx.ehlo()
        before = resident_mb(postroom)
        mx.send(line + b"\r\n")
        assert mx.getreply() == (500, b"5.5.2 line too long")
        assert resident_mb(postroom) < before + 10
        assert (
            send_octets(mx, "a@elsewhere.test", [user.address], b"Subject: x\r\n\r\n" + line + line + b"\r\n")[0] == 552
        )
        assert resident_mb(postroom) < before + 150
        assert send_octets(mx, "a@elsewhere.test", [user.address], MESSAGE)[0] == 250
    assert len(rest.messages(user)) == 1


def test_bare_line_ends_are_normalised_where_wanted(replica: Replica, user: User, rest: Rest) -> None:
    with client(replica(bare_line_ends="normalise")["mx"]) as mx:
        assert send_octets(mx, "a@elsewhere.test", [user.address], b"Subject: x\n\r\nbo\rdy\n.\nend\r\n")[0] == 250
    (message,) = rest.messages(user)
    assert rest.raw(user, message["id"]).endswith(b"\r\nSubject: x\r\n\r\nbo\r\ndy\r\n.\r\nend\r\n")


def test_binarymime_arrives_as_base64(replica: Replica, user: User, rest: Rest) -> None:
    """RFC 3030 §4: what is behind SMTP knows lines only."""
    body = b"\x00\xff\nx" * 1000
    head = b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: image/x\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    with client(replica()["mx"]) as mx:
        begin(mx, user, " BODY=BINARYMIME")
        mx.send(b"BDAT %d\r\n" % len(head) + head + b"BDAT %d LAST\r\n" % len(body) + body)
        assert mx.getreply()[0] == 250
        assert mx.getreply()[0] == 250
        begin(mx, user, " BODY=BINARYMIME")
        mx.send(b"BDAT 14 LAST\r\nSubject: \x00\r\n\r\n")
        assert mx.getreply()[0] == 554
    (message,) = rest.messages(user)
    header, _, encoded = rest.raw(user, message["id"]).partition(b"\r\n\r\n")
    assert b"Content-Transfer-Encoding: base64" in header
    assert b64decode(encoded) == body


def test_submission_completes_a_message(replica: Replica, user: User, rest: Rest) -> None:
    """RFC 6409 §8: Date, Message-ID, From; Bcc goes to nobody, and into the sender's copy."""
    friend = rest.make_user()
    with client(replica(keep_sent_copy=True)["submission"]) as submission:
        submission.login(user.address, user.password)
        message = b"Subject: x\r\nBcc: " + friend.address.encode() + b"\r\n\r\nbody\r\n"
        assert send_octets(submission, user.address, [friend.address], message)[0] == 250
    (received,) = rest.messages(friend)
    header, _, body = rest.raw(friend, received["id"]).partition(b"\r\n\r\n")
    assert body == b"body\r\n"
    assert b"bcc" not in header.lower()
    for field in (b"\r\nDate: ", b"\r\nMessage-ID: <", b"\r\nFrom: " + user.address.encode()):
        assert header.count(field) == 1, field
    assert b" with ESMTPA id " in header
    (kept,) = rest.messages(user, "Sent")
    assert b"Bcc: " + friend.address.encode() in rest.raw(user, kept["id"])


def test_no_copy_is_kept_by_default(replica: Replica, user: User, rest: Rest) -> None:
    with client(replica()["submission"]) as submission:
        submission.login(user.address, user.password)
        assert send_octets(submission, user.address, [user.address], MESSAGE)[0] == 250
    assert rest.messages(user, "Sent") == []
    assert len(rest.messages(user)) == 1


def test_a_proxy_names_its_client(replica: Replica, user: User, rest: Rest) -> None:
    """XCLIENT: what the message is told to come from."""
    with client(replica(xclient_from="127.0.0.0/8")["mx"]) as mx:
        mx.ehlo("proxy.test")
        assert "xclient" in mx.esmtp_features
        assert mx.docmd("XCLIENT ADDR=198.51.100.7 HELO=client.test")[0] == 220
        mx.ehlo("proxy.test")
        assert send_octets(mx, "a@elsewhere.test", [user.address], MESSAGE)[0] == 250
    (message,) = rest.messages(user)
    assert b"\r\nReceived: from client.test ([198.51.100.7])\r\n" in rest.raw(user, message["id"])
    with client(replica()["mx"]) as mx:
        mx.ehlo()
        assert mx.docmd("XCLIENT ADDR=198.51.100.7")[0] == 550
