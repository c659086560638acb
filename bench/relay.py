"""Messages per second relayed from submission to remote hosts: prints figures, tests nothing.

Real messages are submitted with SMTP for 50 domains, which 10 hosts on loopback serve: eight take mail at once, one
takes a while for each message, one is dead (it accepts connections and never says a word). "relayed" ends when the
eight have all of theirs; what the slow one and the dead one still owe then is told beside it; `--even` measures
without them, for what they cost the rest.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import smtplib
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import psutil

from mail_proto.smtp.content import has_bare_line_ends
from mail_testkit import messages
from mail_testkit.clients import HOST, Rest, User
from mail_testkit.running import RunningPostroom, run_postroom, temporary_directory
from postroom_cli.demo.dns import dns_server
from postroom_cli.launcher.config import free_port

HOSTS = 10
DOMAINS = 50
SLOW, DEAD = 8, 9
SLOW_S = 0.5
SERVICES = ("smtp-in", "smtp-out", "store-api")
TIME_LIMIT_S = 240


@dataclass
class Sinks:
    """SMTP servers on 127.0.1.0 and so on that count what they take."""

    port: int
    taken: Counter[int] = field(default_factory=Counter)
    last: dict[int, float] = field(default_factory=dict)

    async def _serve(self, host: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if host == DEAD:
                await reader.read()
                return
            writer.write(b"220 sink\r\n")
            while line := await reader.readline():
                verb = line[:4].upper()
                if verb == b"EHLO":
                    writer.write(b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n")
                elif verb == b"DATA":
                    writer.write(b"354 go\r\n")
                    await self._swallow(reader)
                    if host == SLOW:
                        await asyncio.sleep(SLOW_S)
                    self.taken[host] += 1
                    self.last[host] = time.perf_counter()
                    writer.write(b"250 2.0.0 taken\r\n")
                elif verb == b"QUIT":
                    writer.write(b"221 bye\r\n")
                    break
                else:
                    writer.write(b"250 ok\r\n")
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    @staticmethod
    async def _swallow(reader: asyncio.StreamReader) -> None:
        while await reader.readline() != b".\r\n":
            pass

    async def run(self, up: threading.Event, down: asyncio.Event) -> None:
        servers = [
            await asyncio.start_server(partial(self._serve, host), f"127.0.1.{host}", self.port, limit=2**20)
            for host in range(HOSTS)
        ]
        up.set()
        await down.wait()
        for server in servers:
            server.close()


@contextmanager
def sinks() -> Iterator[Sinks]:
    """They run in a thread of their own while the block runs."""
    made, loop, up, down = Sinks(free_port()), asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(made.run(up, down)), daemon=True)
    thread.start()
    up.wait(10)
    try:
        yield made
    finally:
        loop.call_soon_threadsafe(down.set)
        thread.join(10)


def zone() -> str:
    """Five domains to each host."""
    records = [f"mx{host}.sink.test. 60 IN A 127.0.1.{host}\n" for host in range(HOSTS)]
    records += [f"d{n}.sink.test. 60 IN MX 10 mx{n % HOSTS}.sink.test.\n" for n in range(DOMAINS)]
    return "".join(records)


def submit(postroom: RunningPostroom, user: User, numbers: Sequence[int], letters: Sequence[bytes]) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP_SSL(HOST, postroom.ports["submissions"], context=context) as client:
        client.login(user.address, user.password)
        for number in numbers:
            letter = letters[number % len(letters)]
            client.sendmail(user.address, [f"r{number}@d{number % DOMAINS}.sink.test"], letter)


def cpu_s(postroom: RunningPostroom) -> dict[str, float]:
    """Seconds that each of our processes has used so far."""
    used = {}
    for name in SERVICES:
        times = psutil.Process(postroom.process_id(name)).cpu_times()
        used[name] = times.user + times.system
    return used


def measure(postroom: RunningPostroom, sinks: Sinks, numbers: Sequence[int], connections: int) -> dict[str, float]:
    """Rates of these messages; the slow and the dead host aren't waited for."""
    rest = Rest(postroom)
    users = [rest.make_user() for _ in range(connections)]
    letters = [sent for path in messages.paths() if not has_bare_line_ends(sent := messages.as_sent(path))]
    awaited = sum(1 for number in numbers if number % HOSTS < SLOW)
    before, started = cpu_s(postroom), time.perf_counter()
    threads = [
        threading.Thread(target=submit, args=(postroom, user, numbers[n::connections], letters))
        for n, user in enumerate(users)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    submitted = time.perf_counter() - started
    while sum(sinks.taken[host] for host in range(SLOW)) < awaited:
        if time.perf_counter() - started > TIME_LIMIT_S:
            raise SystemExit(f"after {TIME_LIMIT_S} s only {dict(sinks.taken)} of {awaited} were relayed")
        time.sleep(0.02)
    relayed = max(sinks.last[host] for host in range(SLOW) if host in sinks.last) - started
    used = {name: seconds - before[name] for name, seconds in cpu_s(postroom).items()}
    return {
        "messages": len(numbers),
        "submitted_per_s": round(len(numbers) / submitted, 1),
        "relayed_per_s": round(awaited / relayed, 1),
        "slow_host_has": sinks.taken[SLOW],
        **{f"{name}_ms_per_message": round(1000 * seconds / len(numbers), 2) for name, seconds in used.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--connections", type=int, default=8, help="that submit")
    parser.add_argument("--even", action="store_true", help="nothing for the slow and the dead host")
    arguments = parser.parse_args()
    numbers = [n for n in range(arguments.messages) if not arguments.even or n % HOSTS < SLOW]
    print(f"# {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}; load generator included")
    with temporary_directory() as directory, sinks() as hosts, dns_server(zone()) as (dns, _):
        settings = {
            "POSTROOM_LOG_LEVEL": "warning",
            "POSTROOM_DNS_SERVER": dns,
            "POSTROOM_RELAY_PORT": str(hosts.port),
        }
        with run_postroom(directory / "data", **settings) as postroom:
            figures = measure(postroom, hosts, numbers, arguments.connections)
    print("  ".join(f"{name} {value}" for name, value in figures.items()), flush=True)


if __name__ == "__main__":
    main()
