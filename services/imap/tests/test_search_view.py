"""SEARCH answered out of the view finds what the store finds, whatever is asked."""

from __future__ import annotations

import imaplib
import random

from mail_testkit.clients import HOST, TIMEOUT_S, Rest
from mail_testkit.running import RunningPostroom

PROGRAMS = 60
FLAGS = ("\\Seen", "\\Flagged", "\\Deleted", "\\Answered", "$Work", "$WORK")
DAYS = ("31-Dec-1969", "1-Feb-1994", "2-Feb-1994")
# True of every message, and known to the store alone.
OF_THE_STORE = "SAVEDSINCE 1-Jan-1990"
LEAVES = (
    *("ALL", "NEW", "OLD", "UNSEEN", "SEEN", "FLAGGED", "UNDELETED", "ANSWERED", "DRAFT"),
    *("KEYWORD $work", "UNKEYWORD $Work", "KEYWORD none", "LARGER 30", "SMALLER 30", "LARGER 0"),
    *("1:3", "*", "2,5:*", "UID 3:6", "UID 1,9:*", "UID 100"),
    *(f"{word} {day}" for word in ("BEFORE", "ON", "SINCE") for day in DAYS),
)


def program(choice: random.Random, depth: int = 0) -> str:
    kind = choice.randrange(8 if depth < 3 else 5)
    if kind < 5:
        return choice.choice(LEAVES)
    if kind == 5:
        return f"NOT {program(choice, depth + 1)}"
    first, second = program(choice, depth + 1), program(choice, depth + 1)
    return f"OR {first} {second}" if kind == 6 else f"({first} {second})"


def test_random_programs_find_the_same(postroom: RunningPostroom) -> None:
    choice = random.Random(9051)
    user = Rest(postroom).make_user()
    with imaplib.IMAP4(HOST, postroom.ports["imap"], timeout=TIMEOUT_S) as client:
        client.login(user.address, user.password)
        for number in range(8):
            flags = " ".join(choice.sample(FLAGS, choice.randrange(4)))
            when = choice.choice(('"01-Feb-1994 00:00:00 +0000"', '"01-Feb-1994 23:30:00 -0100"'))
            message = b"Subject: %d\r\n\r\n" % number + b"x" * (number * 5)
            assert client.append("INBOX", f"({flags})", when, message)[0] == "OK"
        client.select("INBOX")
        client.store("2", "+FLAGS", "(\\Deleted)")
        client.uid("EXPUNGE", "2")
        for _ in range(PROGRAMS):
            keys = program(choice)
            for by in (client.search, lambda _, *rest: client.uid("SEARCH", *rest)):
                assert by(None, keys) == by(None, keys, OF_THE_STORE), keys
