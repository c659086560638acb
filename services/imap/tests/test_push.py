"""News reach an IDLE client at once, whoever makes them: another session, SMTP, or another replica."""

from __future__ import annotations

import imaplib
import time

from mail_testkit.clients import HOST, TIMEOUT_S, Rest, User, deliver
from mail_testkit.replicas import Replica
from mail_testkit.running import RunningPostroom

# Issue: "in under 100 ms", from the reply to whoever made the change.
GOAL_S = 0.1
TIMES = 15


class Idler:
    """A client in IDLE with INBOX selected."""

    def __init__(self, port: int, user: User) -> None:
        self._client = imaplib.IMAP4(HOST, port, timeout=TIMEOUT_S)
        self._client.login(user.address, user.password)
        self._client.select("INBOX")
        self._client.send(b"i IDLE\r\n")
        assert self._client.readline().startswith(b"+")

    def until(self, wanted: bytes) -> float:
        """When the line with these octets came."""
        while wanted not in (line := self._client.readline()):
            assert line, "the connection was closed"
        return time.perf_counter()

    def close(self) -> None:
        self._client.shutdown()


def test_news_are_pushed_within_the_goal(postroom: RunningPostroom, replica: Replica) -> None:
    user = Rest(postroom).make_user()
    deliver(postroom, user, b"Subject: x\r\n\r\n")
    Idler(postroom.ports["imap"], user).close()  # who is told that it is \Recent
    here, there = Idler(postroom.ports["imap"], user), Idler(replica()["imap"], user)
    delays: dict[str, list[float]] = {"same process": [], "other replica": [], "delivery": []}
    with imaplib.IMAP4(HOST, postroom.ports["imap"], timeout=TIMEOUT_S) as client:
        client.login(user.address, user.password)
        client.select("INBOX")
        for turn in range(TIMES):
            client.store("1", "+FLAGS", f"($k{turn})")
            done = time.perf_counter()
            wanted = b"FETCH (FLAGS (" if turn == 0 else b" $k%d))" % turn
            delays["same process"].append(here.until(wanted) - done)
            delays["other replica"].append(there.until(wanted) - done)
    for turn in range(TIMES):
        deliver(postroom, user, b"Subject: y\r\n\r\n")
        done = time.perf_counter()
        wanted = b"* %d EXISTS" % (turn + 2)
        delays["delivery"].append(here.until(wanted) - done)
        there.until(wanted)
    here.close()
    there.close()
    # What else the machine does only ever makes it later: the best of all is what it takes.
    best = {who: min(times) for who, times in delays.items()}
    assert max(best.values()) < GOAL_S, delays
