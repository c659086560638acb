"""POP3, Postroom beside Debian's Dovecot where it is installed: prints figures, tests nothing.

Twenty clients, each with an account of its own, log in at once. *cycles*: login, STAT, QUIT, over and over. *messages*:
each retrieves and deletes its hundred corpus messages one by one, and ends with QUIT; what counts is the time until the
last QUIT is answered. Postroom's indexer is through with the messages by then: that work belongs to their delivery, and
Dovecot has none. Both servers get the same clients in turn, on loopback without TLS; the load generator is
included. Figures of one run can be compared with each other, and with nothing else; where other programs keep the
machine busy, compare CPU: a server of many processes gets a larger share of it than one of few.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import platform
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

import psutil
from bench import dovecot
from bench.connections import RECEIVE_OCTETS, at_once, connect, lines
from bench.indexing import indexed
from rich.console import Console
from rich.table import Table

from mail_runtime.contracts.store import Transmission
from mail_runtime.store_client import StoreClient
from mail_testkit import messages
from mail_testkit.clients import Rest, User
from mail_testkit.running import RunningPostroom, run_postroom, temporary_directory

CLIENTS: Final = 20
RATIOS: Final = {"messages": 0.5, "cycles": 1.0}


class Client:
    """One connection, as lean as can be: it finds ends of replies and looks at nothing else."""

    def __init__(self, port: int, user: User) -> None:
        self._socket = connect(port)
        self._line()
        self.do(f"USER {user.address}")
        self.do(f"PASS {user.password}")

    def _line(self) -> bytes:
        received = lines(self._socket)
        assert received.startswith(b"+OK"), received
        return received

    def do(self, command: str) -> bytes:
        self._socket.sendall(command.encode() + b"\r\n")
        return self._line()

    def retrieve(self, number: int) -> int:
        self._socket.sendall(b"RETR %d\r\n" % number)
        received = bytearray(self._socket.recv(RECEIVE_OCTETS))
        while not received.endswith(b"\r\n.\r\n"):
            received += self._socket.recv(RECEIVE_OCTETS)
        assert received.startswith(b"+OK"), received[:100]
        return len(received)

    def quit(self) -> None:
        self.do("QUIT")
        self._socket.close()


def cycles(port: int, user: User, number: int) -> None:
    for _ in range(number):
        client = Client(port, user)
        client.do("STAT")
        client.quit()


def download(port: int, user: User, number: int) -> None:
    client = Client(port, user)
    assert int(client.do("STAT").split()[1]) == number
    for message in range(1, number + 1):
        client.retrieve(message)
        client.do(f"DELE {message}")
    client.quit()


@dataclass(slots=True)
class Server:
    """One of those compared. `fill` gives each user the messages anew."""

    name: str
    port: int
    fill: Callable[[Sequence[User], Sequence[bytes]], None]
    # Processes that serve it, with all that they start.
    roots: Sequence[psutil.Process]
    # Of the cycles that were asked for: Dovecot's argon2id takes half a second each time, its cache notwithstanding.
    share_of_turns: float = 1.0
    rates: dict[str, list[float]] = field(default_factory=lambda: {"cycles": [], "messages": []})
    cpu_ms: dict[str, list[float]] = field(default_factory=lambda: {"cycles": [], "messages": []})

    def round(self, users: Sequence[User], letters: Sequence[bytes], turns: int) -> None:
        self.fill(users, letters)
        turns = max(1, round(turns * self.share_of_turns))
        at_once(lambda user: cycles(self.port, user, 1), users)  # passwords are cached, indexes made
        self._measure("cycles", cycles, users, turns)
        self._measure("messages", download, users, len(letters))

    def _measure(self, name: str, work: Callable[[int, User, int], None], users: Sequence[User], number: int) -> None:
        before = self._cpu_s()
        elapsed = at_once(lambda user: work(self.port, user, number), users)
        done = len(users) * number
        self.rates[name].append(done / elapsed)
        self.cpu_ms[name].append((self._cpu_s() - before) / done * 1000)

    def _cpu_s(self) -> float:
        """Of the server alone, those of its processes that have ended included."""
        processes = [process for root in self.roots for process in (root, *root.children(recursive=True))]
        found = 0.0
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                found += sum(process.cpu_times()[:4])
        return found


def fill_postroom(postroom: RunningPostroom, users: Sequence[User], letters: Sequence[bytes]) -> None:
    async def fill() -> None:
        recipients = [user.address for user in users]
        async with StoreClient(postroom.api_url, postroom.service_token) as store:
            for letter in letters:
                await store.accept(Transmission(id=uuid4(), reverse_path="", recipients=recipients), letter)

    asyncio.run(fill())
    asyncio.run(indexed(postroom.database_url))


def servers(stack: ExitStack, users: Sequence[User], postroom: RunningPostroom) -> Iterator[Server]:
    ours = psutil.Process().children()
    yield Server("Postroom", postroom.ports["pop3"], lambda who, what: fill_postroom(postroom, who, what), ours)
    if dovecot.program() is None:
        return
    addresses = [user.address for user in users]
    for name, scheme, reuses in (
        ("Dovecot, SHA512-CRYPT", "SHA512-CRYPT", False),
        ("Dovecot, ARGON2ID", "ARGON2ID", False),
        ("Dovecot, SHA512-CRYPT, login processes reused", "SHA512-CRYPT", True),
    ):
        root = stack.enter_context(temporary_directory()) / "dovecot"
        started = stack.enter_context(dovecot.running(root, addresses, users[0].password, scheme, reuses_login=reuses))

        def fill(who: Sequence[User], what: Sequence[bytes], to: dovecot.Dovecot = started) -> None:
            for user in who:
                to.fill(user.address, what)

        yield Server(name, started.port, fill, [psutil.Process(started.pid)], 0.05 if scheme == "ARGON2ID" else 1.0)


def table(compared: Sequence[Server]) -> Table:
    """Medians over the rounds, and Postroom's ratio to each of the others."""
    shown = Table(title=f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    columns = ("server", "messages/s", "CPU ms", "cycles/s", "CPU ms", "ratio of messages", "ratio of cycles")
    for column in columns:
        shown.add_column(column, justify="left" if column == "server" else "right")
    ours = {name: statistics.median(found) for name, found in compared[0].rates.items()}
    for server in compared:
        rates = {name: statistics.median(found) for name, found in server.rates.items()}
        cells = []
        for name in RATIOS:
            cells += [f"{rates[name]:,.0f}", f"{statistics.median(server.cpu_ms[name]):.2f}"]
        if server is not compared[0]:
            for name, goal in RATIOS.items():
                ratio = ours[name] / rates[name]
                cells.append(f"{ratio:.2f} ({'≥' if ratio >= goal else 'under'} {goal})")
        shown.add_row(server.name, *cells)
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100, help="for each client")
    parser.add_argument("--turns", type=int, default=20, help="cycles of each client")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    paths = messages.paths()
    letters = [messages.as_sent(paths[n * 7 % len(paths)]) for n in range(arguments.messages)]
    with ExitStack() as stack:
        data = stack.enter_context(temporary_directory()) / "data"
        postroom = stack.enter_context(run_postroom(data, POSTROOM_LOG_LEVEL="warning"))
        rest = Rest(postroom)
        users = [rest.make_user() for _ in range(CLIENTS)]
        compared = list(servers(stack, users, postroom))
        for _ in range(arguments.rounds):
            for server in compared:
                server.round(users, letters, arguments.turns)
        Console().print(table(compared))
        if len(compared) == 1:
            print("Dovecot isn't installed: apt install dovecot-pop3d")


if __name__ == "__main__":
    main()
