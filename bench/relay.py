"""Messages per second relayed from submission to remote hosts: prints figures, tests nothing.

Real messages are submitted by SMTP, over connections that log in and are kept, for 50 domains, which 10 hosts on
loopback serve: eight take mail at once, one takes a while for each message, one is dead (it accepts connections and
never says a word). *relayed* ends when the eight have all of theirs; what the slow one has then is told beside it;
*even* is the same without the slow and the dead one: what they cost the rest. Postfix as packaged does the same work
beside it where it is installed, without logins, and with its next hops in a table instead of DNS. No TLS anywhere; the
load generator and the hosts are included.

Figures of one run can be compared with each other, and with nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Final

import psutil
from bench import sinks
from bench.processes import cpu_s
from bench.senders import SENDER, Load, send_all, wired
from bench.sinks import Sinks
from rich.console import Console
from rich.table import Table

from mail_proto.smtp.content import has_bare_line_ends
from mail_testkit import messages, postfix
from mail_testkit.clients import HOST, Rest
from mail_testkit.running import RunningPostroom, run_postroom, temporary_directory
from postroom_cli.demo.dns import dns_server

HOSTS: Final = 10
DOMAINS: Final = 50
SLOW, DEAD = 8, 9
# Of one measurement: the four of them end in six minutes. What isn't relayed by then is told.
TIME_LIMIT_S: Final = 75.0
PROCESSES: Final = ("smtp-in", "store-api", "smtp-out", "postgres", "nats")


@dataclass(frozen=True, slots=True)
class Measured:
    """One measurement; `cpu_ms` of a message until the eight had theirs, but for those `missing`."""

    server: str
    way: str
    messages: int
    submitted_per_s: float
    relayed_per_s: float
    missing: int
    slow_host_has: int
    p50_ms: float
    p99_ms: float
    cpu_ms: dict[str, float]


@dataclass(frozen=True, slots=True)
class Server:
    """One of those compared. `senders`: who submits, each with a password where it has to log in."""

    name: str
    port: int
    senders: Sequence[tuple[str, str | None]]
    roots: dict[str, psutil.Process]


def measure(server: Server, hosts: Sinks, letters: Sequence[bytes], number: int, *, even: bool) -> Measured:
    """Submit `number` messages; the slow and the dead host aren't waited for, nor is anybody for too long."""
    numbers = [n for n in range(number * HOSTS // SLOW if even else number) if not even or n % HOSTS < SLOW]
    pairs = [(f"r{n}@d{n % DOMAINS}.sink.test", letters[n % len(letters)]) for n in numbers]
    width = len(server.senders)
    loads = [Load(pairs[n::width], sender, password) for n, (sender, password) in enumerate(server.senders)]
    awaited = sum(1 for n in numbers if n % HOSTS < SLOW) + sum(hosts.taken[:SLOW])
    slow_before = hosts.taken[SLOW]
    before, started = cpu_s(server.roots), time.perf_counter()
    sent = send_all(loads, server.port, HOST, "kept")
    while (missing := awaited - sum(hosts.taken[:SLOW])) > 0 and time.perf_counter() - started < TIME_LIMIT_S:
        time.sleep(0.02)
    used = cpu_s(server.roots) - before
    latencies = sorted(sent.latencies_s)
    return Measured(
        server.name,
        "even" if even else "slow and dead",
        len(numbers),
        round(len(numbers) / sent.elapsed_s, 1),
        round((sum(1 for n in numbers if n % HOSTS < SLOW) - missing) / (max(hosts.last[:SLOW]) - started), 1),
        missing,
        hosts.taken[SLOW] - slow_before,
        round(statistics.median(latencies) * 1000, 1),
        round(latencies[len(latencies) * 99 // 100] * 1000, 1),
        {name: round(seconds / len(numbers) * 1000, 3) for name, seconds in used.items()},
    )


def zone() -> str:
    """Five domains to each host."""
    records = [f"mx{host}.sink.test. 60 IN A {Sinks.address(host)}\n" for host in range(HOSTS)]
    records += [f"d{n}.sink.test. 60 IN MX 10 mx{n % HOSTS}.sink.test.\n" for n in range(DOMAINS)]
    return "".join(records)


def postroom_server(postroom: RunningPostroom, connections: int) -> Server:
    rest = Rest(postroom)
    users = [rest.make_user() for _ in range(connections)]
    return Server(
        "Postroom",
        postroom.ports["submission"],
        [(user.address, user.password) for user in users],
        {name: psutil.Process(postroom.pid(name)) for name in PROCESSES},
    )


def peer(stack: ExitStack, hosts: Sinks, connections: int) -> Iterator[Server]:
    """Postfix, where it is installed and may be run."""
    if postfix.program() is None:
        return
    root = stack.enter_context(temporary_directory())
    hops = [f"d{n}.sink.test smtp:[{Sinks.address(n % HOSTS)}]:{hosts.port}\n" for n in range(DOMAINS)]
    (root / "hops").write_text("".join(hops))
    root.chmod(0o755)
    front = stack.enter_context(postfix.running(root / "postfix", [f"transport_maps = texthash:{root}/hops"]))
    yield Server("Postfix", front.port, [(SENDER, None)] * connections, {"postfix": psutil.Process(front.pid)})


def tables(found: Sequence[Measured]) -> Iterator[Table]:
    """How fast, and what each message cost in each process."""
    rates = Table(title=f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    costs = Table(title="CPU ms of a message")
    for shown, columns in (
        (rates, ("messages", "submitted/s", "relayed/s", "missing", "slow has", "p50 ms", "p99 ms")),
        (costs, ("in all",)),
    ):
        for column in ("server", "hosts"):
            shown.add_column(column)
        for column in columns:
            shown.add_column(column, justify="right")
    costs.add_column("by process")
    for one in found:
        figures = (
            *(one.messages, one.submitted_per_s, one.relayed_per_s, one.missing),
            *(one.slow_host_has, one.p50_ms, one.p99_ms),
        )
        rates.add_row(one.server, one.way, *[f"{each:,.0f}" for each in figures])
        by_process = ", ".join(f"{name} {cost:.2f}" for name, cost in one.cpu_ms.items())
        costs.add_row(one.server, one.way, f"{sum(one.cpu_ms.values()):.2f}", by_process)
    yield rates
    yield costs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=5000, help="in each measurement")
    parser.add_argument("--connections", type=int, default=32, help="that submit")
    parser.add_argument("--only", choices=["postroom", "postfix"], help="one of the two")
    parser.add_argument("--json", action="store_true", help="one JSON object for each measurement")
    arguments = parser.parse_args()
    # Postfix goes on when whoever started it is killed: let the blocks end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    letters = [wired(sent) for path in messages.paths() if not has_bare_line_ends(sent := messages.as_sent(path))]
    found = []
    for name in ("postroom", "postfix"):
        for even in (True, False):
            if arguments.only not in (None, name):
                continue
            with ExitStack() as stack:
                hosts = stack.enter_context(sinks.running(HOSTS, SLOW, DEAD))
                for server in servers(stack, name, hosts, arguments.connections):
                    # What is made once is made: logins, connections, look-ups.
                    measure(server, hosts, letters, arguments.connections, even=True)
                    found.append(measure(server, hosts, letters, arguments.messages, even=even))
                    if arguments.json:
                        print(json.dumps(asdict(found[-1])), flush=True)
    if not arguments.json:
        for table in tables(found):
            Console(width=140).print(table)


def servers(stack: ExitStack, name: str, hosts: Sinks, connections: int) -> Iterator[Server]:
    """That one, new, with an empty queue."""
    if name == "postfix":
        yield from peer(stack, hosts, connections)
        return
    dns, _ = stack.enter_context(dns_server(zone()))
    settings = {
        "POSTROOM_LOG_LEVEL": "warning",
        "POSTROOM_DNS_SERVER": dns,
        "POSTROOM_RELAY_PORT": str(hosts.port),
    }
    data = stack.enter_context(temporary_directory()) / "data"
    yield postroom_server(stack.enter_context(run_postroom(data, **settings)), connections)


if __name__ == "__main__":
    main()
