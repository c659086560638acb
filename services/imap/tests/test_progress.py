"""INPROGRESS: who waits for a long command is told that it goes on."""

from __future__ import annotations

import imaplib

from mail_testkit.clients import HOST, TIMEOUT_S, Rest
from mail_testkit.replicas import Replica
from mail_testkit.running import RunningPostroom


def test_a_long_search_is_reported(postroom: RunningPostroom, replica: Replica) -> None:
    user = Rest(postroom).make_user()
    port = replica(progress_interval_s=0.0001)["imap"]
    with imaplib.IMAP4(HOST, port, timeout=TIMEOUT_S) as client:
        client.login(user.address, user.password)
        client.select("INBOX")
        for tag, shown in ((b"t1", b'"t1"'), (b"t]", b"NIL")):
            client.send(tag + b" SEARCH TEXT none\r\n")
            lines = []
            while not (line := client.readline()).startswith(tag):
                assert line, "the connection was closed"
                lines.append(line)
            assert line.startswith(tag + b" OK ")
            assert lines[0] == b"* OK [INPROGRESS (%b NIL NIL)] still at it\r\n" % shown
            assert lines[-1] == b"* SEARCH\r\n"
        client.send(b"t3 NOOP\r\n")
        assert client.readline().startswith(b"t3 OK ")
