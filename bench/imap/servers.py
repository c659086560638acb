"""The servers that are compared: Postroom, and Dovecot as Debian packages it where it is installed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import asyncpg
import psutil
from bench import dovecot

from mail_testkit.clients import User
from mail_testkit.running import RunningPostroom, temporary_directory

INDEX_TIMEOUT_S: Final = 300.0
_NOT_INDEXED: Final = """
SELECT EXISTS (SELECT 1 FROM message m WHERE NOT EXISTS (
    SELECT 1 FROM message_field f WHERE f.account_id = m.account_id AND f.blob_id = m.blob_id))
"""


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
    yield Server("Postroom", postroom.ports["imap"], ours, lambda: asyncio.run(_indexed(postroom.database_url)))
    if dovecot.program() is None:
        return
    root = stack.enter_context(temporary_directory()) / "dovecot"
    addresses = [user.address for user in users]
    running = dovecot.running(root, addresses, users[0].password, "SHA512-CRYPT", protocol="imap", reuses_login=False)
    started = stack.enter_context(running)
    yield Server("Dovecot", started.port, [psutil.Process(started.pid)])


async def _indexed(database_url: str) -> None:
    """Return once every message is in the index. Raises TimeoutError."""
    connection = await asyncpg.connect(database_url)
    try:
        async with asyncio.timeout(INDEX_TIMEOUT_S):
            while await connection.fetchval(_NOT_INDEXED):  # noqa: ASYNC110 - another process does it
                await asyncio.sleep(0.2)
    finally:
        await connection.close()
