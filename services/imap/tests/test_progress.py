"""INPROGRESS: who waits for a long command is told that it goes on."""

from __future__ import annotations

import imaplib
import re

from mail_testkit.clients import HOST, TIMEOUT_S, Rest
from mail_testkit.replicas import Replica
from mail_testkit.running import RunningPostroom

INPROGRESS = re.compile(rb'\* OK \[INPROGRESS \("t1" (?:(\d+) (\d+)|(NIL) NIL)\)\] .*\r\n')


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


def test_a_search_of_many_mailboxes_says_how_far_it_is(postroom: RunningPostroom, replica: Replica) -> None:
    user = Rest(postroom).make_user()
    port = replica(progress_interval_s=0.0001)["imap"]
    with imaplib.IMAP4(HOST, port, timeout=TIMEOUT_S) as client:
        client.login(user.address, user.password)
        for number in range(5):
            assert client.create(f"Box/{number}")[0] == "OK"
        client.send(b"t1 ESEARCH IN (subtree Box) TEXT none\r\n")
        lines = []
        while not (line := client.readline()).startswith(b"t1 "):
            assert line, "the connection was closed"
            lines.append(line)
        assert line.startswith(b"t1 OK ")
        told = [INPROGRESS.fullmatch(line) for line in lines]
        counts = [(int(found[1]), int(found[2])) for found in told if found is not None and found[1]]
        assert all(told)
        assert counts
        assert counts == sorted(counts)
        assert {total for _, total in counts} == {6}
        assert all(done < total for done, total in counts)
