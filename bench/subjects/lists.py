"""Messages as JSON, through HTTP by one caller: a page of a list, and one message that is read."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Final

from bench.subjects.stack import Account, Figure, Stack, letters

from mail_runtime.contracts.store import AppendHeader

MESSAGES: Final = 1_000
TIMES: Final = 15
_AT_ONCE: Final = 32


async def measure(stack: Stack) -> list[Figure]:
    """Medians in milliseconds, the work of the caller's client included; and CPU of the store for each request."""
    account = await stack.make_account()
    await _fill(stack, account)
    path = f"/v1/accounts/{account.address}/messages"
    in_mailbox = f"?mailbox_id={account.mailboxes['INBOX']}&limit=100"
    message_id = (await _read(stack, f"{path}{in_mailbox}"))["items"][0]["id"]
    return [
        await _figure(stack, "list of 100 messages of a mailbox as JSON", 10, f"{path}{in_mailbox}"),
        await _figure(stack, "list of 100 messages of all mailboxes", None, f"{path}?limit=100"),
        await _figure(stack, "100 unread of a mailbox", None, f"{path}{in_mailbox}&seen=false"),
        await _figure(stack, "one message read as JSON", None, f"{path}/{message_id}"),
    ]


async def _read(stack: Stack, path: str) -> dict[str, list[dict[str, str]]]:
    async with stack.rest.get(path) as response:
        response.raise_for_status()
        shown: dict[str, list[dict[str, str]]] = await response.json()
        return shown


async def _fill(stack: Stack, account: Account) -> None:
    """Real messages, every other one read."""
    octets, inbox = letters(), account.mailboxes["INBOX"]
    numbers = iter(range(MESSAGES))

    async def append() -> None:
        for n in numbers:
            header = AppendHeader(flags=["\\Seen"] if n % 2 else [])
            await stack.store.append(account.id, inbox, header, octets[n % len(octets)])

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(append())


async def _figure(stack: Stack, subject: str, goal: float | None, path: str) -> Figure:
    async def once() -> float:
        started = time.perf_counter()
        async with stack.rest.get(path) as response:
            await response.read()
        return (time.perf_counter() - started) * 1000

    await once()
    before = stack.cpu_seconds("store-api")
    times = [await once() for _ in range(TIMES)]
    cpu = (stack.cpu_seconds("store-api") - before) / TIMES * 1000
    return Figure(
        subject, statistics.median(times), "ms", goal, note=f"fastest {min(times):.1f}, store {cpu:.1f} ms CPU"
    )
