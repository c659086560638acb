"""FETCH of more than one batch: what is read ahead comes in its place, and only what is asked for is read."""

from __future__ import annotations

import imaplib

from mail_testkit.clients import HOST, TIMEOUT_S, Rest
from mail_testkit.replicas import Replica
from mail_testkit.running import RunningPostroom

# Two of these are a batch; one of the last size is more than a batch.
SIZES = (1_500_000, 1_600_000, 1_700_000, 100, 5_000_000, 1_800_000, 200)


def message(number: int, size: int) -> bytes:
    line = b"%06d of this message, which has many lines that say no more than this.\r\n" % number
    return b"Subject: %d\r\n\r\n" % number + line * (size // len(line) + 1)


def test_bodies_of_many_batches(postroom: RunningPostroom, calls: list[str], replica: Replica) -> None:
    user = Rest(postroom).make_user()
    sent = [message(number, size) for number, size in enumerate(SIZES)]
    with imaplib.IMAP4(HOST, replica()["imap"], timeout=TIMEOUT_S) as client:
        client.login(user.address, user.password)
        for octets in sent:
            client.append("INBOX", "", "", octets)
        client.select("INBOX", readonly=True)
        calls.clear()
        _, found = client.fetch("1:*", "(BODY[])")
        assert [part[1] for part in found if isinstance(part, tuple)] == sent
        assert set(calls) == {"bodies"}, "summaries aren't needed for messages as they are"
        _, found = client.fetch("1:*", "(UID BODY.PEEK[]<0.14> BODY.PEEK[TEXT]<0.6> FLAGS)")
        parts = [part for part in found if isinstance(part, tuple)]
        assert [octets for _, octets in parts[::2]] == [octets[:14] for octets in sent]
        assert [octets for _, octets in parts[1::2]] == [b"%06d" % number for number in range(len(sent))]
        assert [label for label, _ in parts[1::2]] == [b" BODY[TEXT]<0> {6}"] * len(sent)
