"""The running system that is measured, and what each of its processes costs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import aiohttp

from mail_runtime.store_client import StoreClient
from mail_testkit import messages
from mail_testkit.running import PASSWORD, RunningPostroom

# What one may expect of mail between people: mean 8 KB. Larger ones are a subject of their own.
LARGEST_LETTER_OCTETS: Final = 60_000
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table. `goal` is in the same unit; `more_is_better` says which side of it is good."""

    subject: str
    value: float
    unit: str
    goal: float | None = None
    more_is_better: bool = False
    note: str = ""

    @property
    def is_reached(self) -> bool | None:
        if self.goal is None:
            return None
        return self.value >= self.goal if self.more_is_better else self.value <= self.goal


@dataclass(frozen=True, slots=True)
class Account:
    """An account of the measurement, with its mailboxes by name."""

    id: UUID
    address: str
    mailboxes: dict[str, UUID]


@dataclass(frozen=True, slots=True)
class Stack:
    """Hand it to `measure`. `storage` names where the bodies are: `file` or `s3`."""

    postroom: RunningPostroom
    store: StoreClient
    rest: aiohttp.ClientSession
    storage: str
    seconds: float

    async def make_account(self) -> Account:
        address = f"bench-{uuid4().hex[:12]}@{self.postroom.domain}"
        async with self.rest.post("/v1/accounts", json={"address": address, "password": PASSWORD}) as response:
            response.raise_for_status()
            account_id = UUID((await response.json())["id"])
        return Account(account_id, address, {m.name: m.id for m in await self.store.mailboxes(account_id)})

    def cpu_seconds(self, name: str) -> float:
        """CPU time of a process of the system and all its children until now."""
        return _cpu_seconds(self.postroom.pid(name))

    def resident_octets(self, name: str) -> int:
        """Memory of one process, without its children."""
        for line in Path(f"/proc/{self.postroom.pid(name)}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError(f"{name} has no resident memory")


def letters() -> list[bytes]:
    """Messages of the corpus as they are sent, without the very large."""
    found = [messages.as_sent(path) for path in messages.paths()]
    return [octets for octets in found if len(octets) <= LARGEST_LETTER_OCTETS]


def _cpu_seconds(pid: int) -> float:
    """Of the process, its ended children and, recursively, its living ones."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children: Sequence[str] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0.0
    own = sum(int(field) for field in fields[11:15]) / _TICKS_PER_S
    return own + sum(_cpu_seconds(int(child)) for child in children)
