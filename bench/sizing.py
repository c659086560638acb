"""What mailboxes and messages cost, for docs/growing.md: CPU of processes, memory, disk; how long a restore takes.

    make bench-sizing ARGS="--accounts 100 --messages 2000"

CPU time rather than wall time: the figures hold on a machine that has other work. Messages are those of the corpus, or
the repository's own where there is none.
"""

from __future__ import annotations

import argparse
import asyncio
import imaplib
import os
import smtplib
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import psutil
from bench.indexing import indexed

from mail_proto.smtp.content import has_bare_line_ends
from mail_testkit import messages
from mail_testkit.clients import HOST, Rest, User, send_octets
from mail_testkit.running import RunningPostroom, run_postroom, temporary_directory

PROCESSES: Final = ("smtp-in", "store-api", "imap", "postgres", "nats")
SENDERS: Final = 4
IDLE: Final = 200
# The first message of a sender finds nothing in any cache.
WARM_UP: Final = 100


def tree(postroom: RunningPostroom, name: str) -> list[psutil.Process]:
    parent = psutil.Process(postroom.pid(name))
    return [parent, *parent.children(recursive=True)]


def cpu_s(postroom: RunningPostroom, name: str) -> float:
    total = 0.0
    for process in tree(postroom, name):
        times = process.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
    return total


def memory_mb(postroom: RunningPostroom, name: str) -> float:
    """Proportional: what processes share counts once."""
    return float(sum(process.memory_full_info().pss for process in tree(postroom, name)) / 1e6)


def disk_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def database_mb(postroom: RunningPostroom) -> float:
    return disk_mb(next((postroom.data / "postgres").rglob("base")))


def send(postroom: RunningPostroom, users: Sequence[User], letters: Sequence[bytes], start: int, count: int) -> None:
    with smtplib.SMTP(HOST, postroom.ports["smtp"]) as client:
        for n in range(start, start + count):
            to = users[n % len(users)].address
            code, text = send_octets(client, "bench@elsewhere.test", [to], letters[n % len(letters)])
            assert code == 250, text


def deliver(postroom: RunningPostroom, users: Sequence[User], letters: Sequence[bytes], count: int) -> None:
    share = count // SENDERS
    with ThreadPoolExecutor(SENDERS) as pool:
        done = [pool.submit(send, postroom, users, letters, n * share, share) for n in range(SENDERS)]
        for each in done:
            each.result()


def measure_mail(postroom: RunningPostroom, users: Sequence[User], count: int) -> None:
    letters = [sent for path in messages.paths() if not has_bare_line_ends(sent := messages.as_sent(path))]
    deliver(postroom, users, letters, WARM_UP)
    asyncio.run(indexed(postroom.database_url))
    blobs, database = disk_mb(postroom.data / "blobs"), database_mb(postroom)
    before = {name: cpu_s(postroom, name) for name in PROCESSES}
    deliver(postroom, users, letters, count)
    at_once = {name: cpu_s(postroom, name) - before[name] for name in PROCESSES}
    asyncio.run(indexed(postroom.database_url))
    after = {name: cpu_s(postroom, name) - before[name] for name in PROCESSES}
    octets = sum(len(letters[n % len(letters)]) for n in range(count))
    print(
        f"{count} messages, {octets / count / 1024:.1f} KiB on average; ms of CPU per message, until 250 and indexed:"
    )
    for name in PROCESSES:
        print(f"    {name:10} {at_once[name] / count * 1e3:6.2f} {after[name] / count * 1e3:6.2f}")
    print(
        f"    on disk, KiB per message: bodies {(disk_mb(postroom.data / 'blobs') - blobs) * 1e3 / count:.1f}, ", end=""
    )
    print(f"database {(database_mb(postroom) - database) * 1e3 / count:.1f}")


def measure_idle(postroom: RunningPostroom, users: Sequence[User]) -> None:
    before = {name: memory_mb(postroom, name) for name in PROCESSES}
    print("MB of memory without connections: " + ", ".join(f"{name} {mb:.0f}" for name, mb in before.items()))
    clients = []
    for n in range(IDLE):
        client = imaplib.IMAP4(HOST, postroom.ports["imap"])
        client.login(users[n % len(users)].address, users[n % len(users)].password)
        client.select("INBOX")
        client.send(b"x IDLE\r\n")
        client.readline()
        clients.append(client)
    cpu, start = cpu_s(postroom, "imap"), time.monotonic()
    time.sleep(20)
    spent = (cpu_s(postroom, "imap") - cpu) / (time.monotonic() - start)
    more = memory_mb(postroom, "imap") - before["imap"]
    print(f"{IDLE} connections in IDLE, each: {more * 1e3 / IDLE:.0f} KB, {spent / IDLE * 1e6:.0f} µs of CPU a second")
    for client in clients:
        client.shutdown()


def measure_restore(postroom: RunningPostroom, base: Path, count: int) -> None:
    """`postroom backup`, then `postroom restore` into a new system."""
    environ = {**os.environ, "POSTROOM_URL": postroom.api_url, "POSTROOM_TOKEN": postroom.admin_token}
    command = [sys.executable, "-m", "postroom_cli"]
    start = time.monotonic()
    subprocess.run([*command, "backup", str(base / "backup")], env=environ, check=True, stdout=subprocess.DEVNULL)
    taken = time.monotonic() - start
    with run_postroom(base / "second", POSTROOM_FIRST_ACCOUNTS="0") as second:
        environ |= {"POSTROOM_URL": second.api_url, "POSTROOM_TOKEN": second.admin_token}
        start = time.monotonic()
        subprocess.run([*command, "restore", str(base / "backup")], env=environ, check=True, stdout=subprocess.DEVNULL)
        restored = time.monotonic() - start
    print(f"backup of {count} messages: {taken:.1f} s, {disk_mb(base / 'backup'):.0f} MB; restore: {restored:.1f} s")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--accounts", type=int, default=100)
    parser.add_argument("--messages", type=int, default=2000)
    options = parser.parse_args()
    with temporary_directory() as base, run_postroom(base / "first", POSTROOM_RATE_LIMIT_SCALE="0") as postroom:
        rest = Rest(postroom)
        database, cpu = database_mb(postroom), cpu_s(postroom, "store-api")
        users = [rest.make_user() for _ in range(options.accounts)]
        spent = cpu_s(postroom, "store-api") - cpu
        kept = (database_mb(postroom) - database) * 1e3 / options.accounts
        print(
            f"{options.accounts} accounts, each: {kept:.1f} KB in Postgres, CPU {spent / options.accounts * 1e3:.0f} ms"
        )
        measure_mail(postroom, users, options.messages)
        measure_idle(postroom, users)
        measure_restore(postroom, base, options.messages + WARM_UP)


if __name__ == "__main__":
    main()
