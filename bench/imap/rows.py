"""The work that is done on each server, row by row; every client has an account and a connection of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.imap.client import Client

from mail_testkit.clients import User

# What clients list mailboxes by.
FIELDS: Final = "FROM TO CC SUBJECT DATE MESSAGE-ID REFERENCES CONTENT-TYPE"
SUMMARY: Final = "(ENVELOPE BODYSTRUCTURE)"


@dataclass(slots=True)
class Bench:
    """One client of the load: its account, its connection, what it appends."""

    port: int
    user: User
    letters: Sequence[bytes]
    client: Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = Client(self.port, self.user)

    def append(self, _: int) -> None:
        for letter in self.letters:
            self.client.do("APPEND INBOX (\\Seen)", letter)

    def log_in(self, turns: int) -> None:
        for _ in range(turns):
            Client(self.port, self.user).close()

    def cycle(self, turns: int) -> None:
        for _ in range(turns):
            client = Client(self.port, self.user)
            client.do("SELECT INBOX")
            client.close()

    def copied_and_marked(self) -> None:
        """What EXPUNGE finds: the copies, all of them \\Deleted."""
        self.client.do("SELECT Copies")
        self.client.do("STORE 1:* +FLAGS.SILENT (\\Deleted)")


def times(command: str) -> Callable[[Bench, int], None]:
    def work(bench: Bench, turns: int) -> None:
        for _ in range(turns):
            bench.client.do(command)

    return work


def one_by_one(command: str) -> Callable[[Bench, int], None]:
    """With the number of each message for `#`."""

    def work(bench: Bench, turns: int) -> None:
        for _ in range(turns):
            for number in range(1, len(bench.letters) + 1):
                bench.client.do(command.replace("#", str(number)))

    return work


def alternating(command: str, other: str) -> Callable[[Bench, int], None]:
    """So that each changes what the one before has left."""

    def work(bench: Bench, turns: int) -> None:
        for turn in range(turns):
            bench.client.do(other if turn % 2 else command)

    return work


@dataclass(frozen=True, slots=True)
class Row:
    """`turns` of `work` by each client, after `before`, which isn't counted.

    `of_messages`: a turn is a unit for each message, or else one.
    """

    name: str
    unit: str
    goal: float
    turns: int
    work: Callable[[Bench, int], None]
    of_messages: bool = True
    before: Callable[[Bench], object] = lambda _: None

    def units(self, messages: int, effort: float) -> int:
        return self.rounds(effort) * (messages if self.of_messages else 1)

    def rounds(self, effort: float) -> int:
        """Even, where there are several: what is set is taken back."""
        return 1 if self.turns == 1 else max(2, round(self.turns * effort / 2) * 2)


ROWS: Final = (
    Row("connect+login+logout", "sessions", 0.5, 10, Bench.log_in, of_messages=False),
    Row("APPEND", "messages", 0.5, 1, Bench.append),
    Row("SELECT", "selections", 0.5, 20, times("SELECT INBOX"), of_messages=False),
    Row("FETCH 1:* FLAGS", "messages", 1.0, 40, times("FETCH 1:* FLAGS")),
    Row("FETCH 1:* ENVELOPE BODYSTRUCTURE", "messages", 1.0, 6, times(f"FETCH 1:* {SUMMARY}")),
    Row("FETCH 1:* header fields", "messages", 1.0, 6, times(f"FETCH 1:* BODY.PEEK[HEADER.FIELDS ({FIELDS})]")),
    Row("FETCH 1:* BODY[]", "messages", 0.5, 4, times("FETCH 1:* BODY.PEEK[]")),
    Row("FETCH BODY[] one by one", "messages", 0.5, 2, one_by_one("FETCH # BODY.PEEK[]")),
    Row("STORE one by one", "messages", 0.5, 1, one_by_one("STORE # +FLAGS (\\Flagged)")),
    Row("STORE 1:*", "messages", 1.0, 10, alternating("STORE 1:* -FLAGS (\\Seen)", "STORE 1:* +FLAGS (\\Seen)")),
    Row("SEARCH by flag", "searches", 0.5, 20, alternating("SEARCH UNSEEN", "SEARCH FLAGGED"), of_messages=False),
    Row("SEARCH by header", "searches", 0.5, 10, times("SEARCH SUBJECT meeting"), of_messages=False),
    Row("SEARCH by text", "searches", 0.5, 4, times("SEARCH TEXT information"), of_messages=False),
    Row("NOOP", "commands", 1.0, 200, times("NOOP"), of_messages=False),
    Row(
        "STATUS",
        "commands",
        0.5,
        60,
        times("STATUS Copies (MESSAGES UNSEEN UIDNEXT)"),
        of_messages=False,
        before=lambda b: b.client.do("CREATE Copies"),
    ),
    Row("COPY 1:*", "messages", 1.0, 4, times("COPY 1:* Copies")),
    Row("EXPUNGE", "messages", 0.5, 1, times("EXPUNGE"), before=Bench.copied_and_marked),
    Row("login, SELECT, logout", "cycles", 1.0, 20, Bench.cycle, of_messages=False),
)
