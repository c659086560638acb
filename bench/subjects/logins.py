"""Logging in: what each way costs the store, one caller after the other."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import uuid4

from bench.subjects.stack import Figure, Stack

from mail_runtime.contracts.store import Credentials, ScramFinish, ScramStart
from mail_testkit.running import PASSWORD
from mail_testkit.scram import client_proof

FIRST_LOGINS: Final = 10
LOGINS: Final = 300


async def measure(stack: Stack) -> list[Figure]:
    """CPU milliseconds of store and Postgres for each login."""
    addresses = [(await stack.make_account()).address for _ in range(FIRST_LOGINS)]
    address = addresses[0]
    app = await _app_password(stack, address)
    peer = f"2001:db8::{uuid4().hex[:4]}"

    def given(login: str, password: str) -> Callable[[], Awaitable[object]]:
        credentials = Credentials(username=login, password=password, protocol="imap", peer=peer)
        return lambda: stack.store.authenticate(credentials)

    challenge = await stack.store.scram_start(ScramStart(username=address))
    message = b"n=x,r=abc,s=" + b64encode(challenge.salt)
    proof = client_proof(PASSWORD, challenge.salt, challenge.iterations, message)
    finish = ScramFinish(username=address, auth_message=message, proof=proof, protocol="imap", peer=peer)
    ways: list[tuple[str, list[Callable[[], Awaitable[object]]]]] = [
        ("password, first time (argon2id)", [given(login, PASSWORD) for login in addresses]),
        ("password, again within ten minutes", [given(address, PASSWORD)] * LOGINS),
        ("app password", [given(address, app)] * LOGINS),
        ("SCRAM-SHA-256 proof", [lambda: stack.store.scram_finish(finish)] * LOGINS),
    ]
    return [await _cost(stack, f"login: {name}", calls) for name, calls in ways]


async def _app_password(stack: Stack, address: str) -> str:
    body = {"name": "bench", "scopes": ["imap"]}
    async with stack.rest.post(f"/v1/accounts/{address}/app-passwords", json=body) as response:
        password: str = (await response.json())["password"]
        return password


async def _cost(stack: Stack, subject: str, calls: list[Callable[[], Awaitable[object]]]) -> Figure:
    names = ("store-api", "postgres")
    before = {name: stack.cpu_seconds(name) for name in names}
    started = time.perf_counter()
    for call in calls:
        await call()
    took_ms = (time.perf_counter() - started) / len(calls) * 1e3
    costs = {name: (stack.cpu_seconds(name) - before[name]) / len(calls) * 1e3 for name in names}
    note = f"{took_ms:.1f} ms to answer; CPU ms: " + ", ".join(f"{name} {cost:.2f}" for name, cost in costs.items())
    return Figure(subject, sum(costs.values()), "ms of CPU", note=note)
