"""The servers that are compared: Postroom, and Dovecot as Debian packages it where it is installed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import psutil
from bench import dovecot
from bench.indexing import indexed

from mail_testkit.clients import User
from mail_testkit.running import RunningPostroom, temporary_directory


@dataclass(frozen=True, slots=True)
class Server:
    """`settle` returns when what the server does by itself after deliveries is done."""

    name: str
    port: int
    # Processes that serve it, with all that they start.
    roots: Sequence[psutil.Process]
    settle: Callable[[], None] = lambda: None

    def cpu_s(self) -> float:
        """Of the server alone, those of its processes that have ended included."""
        processes = [process for root in self.roots for process in (root, *root.children(recursive=True))]
        found = 0.0
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                found += sum(process.cpu_times()[:4])
        return found


def servers(stack: ExitStack, users: Sequence[User], postroom: RunningPostroom) -> Iterator[Server]:
    """Each runs until `stack` is closed."""
    ours = psutil.Process().children()
    yield Server("Postroom", postroom.ports["imap"], ours, lambda: asyncio.run(indexed(postroom.database_url)))
    if dovecot.program() is None:
        return
    root = stack.enter_context(temporary_directory()) / "dovecot"
    addresses = [user.address for user in users]
    running = dovecot.running(root, addresses, users[0].password, "SHA512-CRYPT", protocol="imap", reuses_login=False)
    started = stack.enter_context(running)
    yield Server("Dovecot", started.port, [psutil.Process(started.pid)])
