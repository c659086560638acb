"""What idle sessions and a large mailbox take of one imap process: prints figures beside their goals, tests nothing.

Sessions are logged in to ten accounts, have INBOX selected and are in IDLE, without TLS. The large mailbox is opened by
a session for the first time since the process knows nothing of it, then by others while that one has it open.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

import aiohttp
from bench.imap.client import Client
from bench.subjects.mailboxes import fill
from bench.subjects.stack import Figure, Stack
from rich.console import Console
from rich.table import Table

from mail_runtime.store_client import StoreClient
from mail_testkit.clients import Rest, User
from mail_testkit.running import RunningPostroom, run_postroom, temporary_directory

ACCOUNTS: Final = 10
AGAIN: Final = 7
LARGE: Final = 100_000
# Of this process and of those that it starts: a socket for each session, and what else is open.
SPARE_FILES: Final = 500
# Connections from one address: Linux gives out 28,000 ports by itself.
FROM_ONE: Final = 20_000


def idle(stack: Stack, number: int) -> Figure:
    """Octets of the imap process for each of so many sessions in IDLE."""
    rest = Rest(stack.postroom)
    users = [rest.make_user() for _ in range(ACCOUNTS)]
    port = stack.postroom.ports["imap"]
    Client(port, users[0]).close()
    before = stack.resident_octets("imap")
    cpu_s = stack.cpu_seconds("imap")
    clients: list[Client] = []
    for n in range(number):
        client = Client(port, users[n % ACCOUNTS], f"127.0.0.{1 + n // FROM_ONE}")
        client.do("SELECT INBOX")
        client.start_idling()
        clients.append(client)
    kb = (stack.resident_octets("imap") - before) / number / 1024
    cpu_ms = (stack.cpu_seconds("imap") - cpu_s) / number * 1e3
    for client in clients:
        client.abort()
    return Figure(f"idle session, of {number:,}", kb, "KiB", 30, note=f"CPU of imap to get there: {cpu_ms:.2f} ms")


async def large(stack: Stack) -> list[Figure]:
    account = await stack.make_account()
    await fill(stack, account, account.mailboxes["INBOX"])
    return await asyncio.to_thread(_open_large, stack, User(account.address))


def _open_large(stack: Stack, user: User) -> list[Figure]:
    port = stack.postroom.ports["imap"]
    clients = [Client(port, user) for _ in range(AGAIN + 1)]
    before = stack.resident_octets("imap")
    took = []
    for client in clients:
        started = time.perf_counter()
        assert f"* {LARGE} EXISTS".encode() in client.do("SELECT INBOX")
        took.append((time.perf_counter() - started) * 1e3)
    grown = (stack.resident_octets("imap") - before) / 1e6
    for client in clients:
        client.close()
    return [
        Figure("SELECT of 100,000 messages, first", took[0], "ms", 150),
        Figure("… while another session has it open", statistics.median(took[1:]), "ms", 5),
        Figure(
            "what imap grows by, read and decoded", grown, "MB", 10, note="the view itself takes 48 octets a message"
        ),
    ]


async def measure(postroom: RunningPostroom, sessions: int) -> list[Figure]:
    headers = {"Authorization": f"Bearer {postroom.admin_token}"}
    async with (
        StoreClient(postroom.api_url, postroom.service_token) as store,
        aiohttp.ClientSession(postroom.api_url, headers=headers) as rest,
    ):
        stack = Stack(postroom, store, rest, "file", 0)
        return [await asyncio.to_thread(idle, stack, sessions), *await large(stack)]


def table(figures: Sequence[Figure]) -> Table:
    shown = Table()
    for column in ("", "measured", "goal", "", ""):
        shown.add_column(column)
    for figure in figures:
        reached = "yes" if figure.is_reached else "no"
        value = f"{figure.value:,.1f} {figure.unit}"
        shown.add_row(figure.subject, value, f"< {figure.goal:g} {figure.unit}", reached, figure.note)
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=1_000)
    parser.add_argument("--json", action="store_true", help="one JSON object for each figure")
    arguments = parser.parse_args()
    wanted = arguments.sessions + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
    environ = {"POSTROOM_LOG_LEVEL": "warning", "POSTROOM_IMAP_MAX_CONNECTIONS": str(wanted)}
    with temporary_directory() as directory, run_postroom(directory / "data", **environ) as postroom:
        figures = asyncio.run(measure(postroom, arguments.sessions))
    if arguments.json:
        for figure in figures:
            print(json.dumps(asdict(figure) | {"is_reached": figure.is_reached}))
    else:
        Console(width=140).print(table(figures))


if __name__ == "__main__":
    main()
