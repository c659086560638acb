"""IMAP, Postroom beside Debian's Dovecot where it is installed: prints figures, tests nothing.

Ten clients, each with an account of its own, do the same on both servers in turn, on loopback without TLS: a hundred
corpus messages are appended, read, flagged, searched, copied and expunged. The load generator is included in the rates,
and not in the CPU. Nothing is warmed up, but for a first login of each account, and each row is repeated a few times,
so that what a server keeps from the first time counts in part. Postroom's index is made after the row of APPEND,
and not counted in it. Figures of one run can be compared with each other, and with nothing else; where other programs
keep the machine busy, compare CPU: a server of many processes gets a larger share of it than one of few.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Final

from bench.connections import at_once
from bench.imap.client import Client
from bench.imap.rows import ROWS, Bench, Row
from bench.imap.servers import Server, servers
from rich.console import Console
from rich.table import Table

from mail_testkit import messages
from mail_testkit.clients import Rest, User
from mail_testkit.running import run_postroom, temporary_directory

CLIENTS: Final = 10


@dataclass(frozen=True, slots=True)
class Measured:
    """One row on one server. `cpu_us`: of the server for each unit."""

    row: str
    server: str
    per_s: float
    cpu_us: float


def measure(server: Server, row: Row, benches: Sequence[Bench], effort: float) -> Measured:
    at_once(row.before, benches)
    before = server.cpu_s()
    elapsed = at_once(lambda bench: row.work(bench, row.rounds(effort)), benches)
    units = row.units(len(benches[0].letters), effort) * len(benches)
    return Measured(row.name, server.name, units / elapsed, (server.cpu_s() - before) / units * 1e6)


def on_server(
    server: Server, users: Sequence[User], letters: Sequence[bytes], effort: float, rows: Sequence[Row]
) -> list[Measured]:
    """In their order: each finds what the ones before have left."""
    at_once(lambda user: Client(server.port, user).close(), users)  # passwords are known from here on
    benches = [Bench(server.port, user, letters) for user in users]
    found = []
    for row in rows:
        found.append(measure(server, row, benches, effort))
        if row.name == "APPEND":
            server.settle()
    at_once(lambda bench: bench.client.close(), benches)
    return found


def table(found: Sequence[Measured]) -> Table:
    """Postroom's rate, and beside another server's the ratio of the two."""
    by_row = {(one.row, one.server): one for one in found}
    others = list(dict.fromkeys(one.server for one in found if one.server != "Postroom"))
    shown = Table(title=f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    columns = ["", "Postroom /s", "CPU µs"]
    for other in others:
        columns += [f"{other} /s", "CPU µs", "ratio", "goal", "ratio by CPU"]
    for column in columns:
        shown.add_column(column, justify="right" if column else "left")
    for row in (row for row in ROWS if (row.name, "Postroom") in by_row):
        ours = by_row[row.name, "Postroom"]
        cells = [f"{row.name}, {row.unit}", f"{ours.per_s:,.0f}", f"{ours.cpu_us:,.0f}"]
        for other in others:
            theirs = by_row[row.name, other]
            ratio = ours.per_s / theirs.per_s
            by_cpu = theirs.cpu_us / ours.cpu_us if ours.cpu_us else float("inf")
            goal = f"{'≥' if ratio >= row.goal else 'under'} {row.goal:g}"
            cells += [f"{theirs.per_s:,.0f}", f"{theirs.cpu_us:,.0f}", f"{ratio:.2f}", goal, f"{by_cpu:.2f}"]
        shown.add_row(*cells)
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--messages", type=int, default=100, help="of each client")
    parser.add_argument("--effort", type=float, default=1.0, help="how often rows are repeated, as a factor")
    parser.add_argument("--rows", nargs="*", default=[], help="of these names alone, and what they build on")
    parser.add_argument("--json", action="store_true", help="one JSON object for each row and server")
    arguments = parser.parse_args()
    found_letters = [messages.as_sent(path) for path in messages.paths()]
    kept = [octets for octets in found_letters if b"\0" not in octets]  # with NUL only as a literal8 (RFC 9051 §4.3.1)
    built_on = {"APPEND", "SELECT", *(["STATUS"] if {"COPY 1:*", "EXPUNGE"} & set(arguments.rows) else [])}
    rows = [row for row in ROWS if not arguments.rows or row.name in built_on.union(arguments.rows)]
    letters = [kept[n * 7 % len(kept)] for n in range(arguments.messages)]
    with ExitStack() as stack:
        data = stack.enter_context(temporary_directory()) / "data"
        postroom = stack.enter_context(run_postroom(data, POSTROOM_LOG_LEVEL="warning"))
        rest = Rest(postroom)
        users = [rest.make_user() for _ in range(arguments.clients)]
        found = []
        for server in servers(stack, users, postroom):
            found += on_server(server, users, letters, arguments.effort, rows)
    if arguments.json:
        for one in found:
            print(json.dumps(asdict(one)))
        return
    Console(width=None if os.isatty(1) else 160).print(table(found))
    if len({one.server for one in found}) == 1:
        print("Dovecot isn't installed: apt install dovecot-imapd")


if __name__ == "__main__":
    main()
