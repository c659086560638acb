"""Taking in: 32 callers hand over corpus messages, each waits for its commit."""

from __future__ import annotations

import asyncio
import resource
import time
from typing import Final
from uuid import uuid4

from bench.subjects.stack import Account, Figure, Stack, letters

from mail_runtime.contracts.store import Transmission

CALLERS: Final = 32
ACCOUNTS: Final = 32
GOALS: Final = {"file": 900.0, "s3": 700.0}
WARM_UP_S: Final = 1.0


async def measure(stack: Stack) -> list[Figure]:
    """Messages per second, and the CPU that each one costs in the store, in Postgres and in the caller."""
    accounts = [await stack.make_account() for _ in range(ACCOUNTS)]
    corpus = letters()
    await _run(stack, accounts, corpus, WARM_UP_S)
    names = ["store-api", "postgres", "nats", *(["seaweedfs"] if stack.storage == "s3" else [])]
    before = {name: stack.cpu_seconds(name) for name in names}
    caller = _own_cpu_seconds()
    started = time.perf_counter()
    stored = await _run(stack, accounts, corpus, stack.seconds)
    took = time.perf_counter() - started
    costs = {name: (stack.cpu_seconds(name) - before[name]) / stored * 1e3 for name in names}
    costs["caller"] = (_own_cpu_seconds() - caller) / stored * 1e3
    note = "CPU ms per message: " + ", ".join(f"{name} {cost:.2f}" for name, cost in costs.items())
    subject = f"ingest, {stack.storage}://, {CALLERS} callers"
    return [Figure(subject, stored / took, "messages/s", GOALS[stack.storage], more_is_better=True, note=note)]


def _own_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def _run(stack: Stack, accounts: list[Account], corpus: list[bytes], seconds: float) -> int:
    """Returns how many messages were stored."""
    end = time.perf_counter() + seconds

    async def call(number: int) -> int:
        stored = 0
        while time.perf_counter() < end:
            place = number + stored * CALLERS
            sent = Transmission(
                id=uuid4(),
                reverse_path="bench@elsewhere.test",
                recipients=[accounts[place % len(accounts)].address],
            )
            await stack.store.accept(sent, corpus[place * 7 % len(corpus)])
            stored += 1
        return stored

    return sum(await asyncio.gather(*(call(number) for number in range(CALLERS))))
