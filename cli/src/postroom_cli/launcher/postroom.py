"""A whole Postroom on this machine: started, filled at the first start, stopped."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from postroom_cli.launcher.config import Config, LaunchError, check_ports
from postroom_cli.launcher.services import Plan, make_plan
from postroom_cli.launcher.supervisor import Supervisor

READY_TIMEOUT_S: Final = 120.0
CALL_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Running:
    """A Postroom that serves."""

    config: Config
    plan: Plan
    supervisor: Supervisor


@asynccontextmanager
async def running(
    config: Config, on_event: Callable[[str], None], on_ready: Callable[[str], None] = lambda name: None
) -> AsyncIterator[Running]:
    """Run it while the block runs. Raises LaunchError: it can't start, the text says why."""
    config.data.mkdir(parents=True, exist_ok=True)
    with _locked(config.data):
        check_ports(config)
        plan = await asyncio.to_thread(make_plan, config)
        async with Supervisor(plan.programs, config.data / "logs", on_event) as supervisor:
            await supervisor.wait_ready(READY_TIMEOUT_S, on_ready)
            await _first_accounts(config, plan)
            yield Running(config, plan, supervisor)


@contextmanager
def _locked(data: Path) -> Iterator[None]:
    with (data / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LaunchError(
                f"another Postroom runs on {data}: stop it, or set POSTROOM_DATA to another directory"
            ) from None
        yield


async def _first_accounts(config: Config, plan: Plan) -> None:
    """Domain and accounts of the first start; what exists already stays as it is."""
    done = config.data / "first-accounts"
    if done.exists() or not config.users:
        return
    users = [f"{user}@{config.domain}" for user in config.users]
    async with aiohttp.ClientSession(
        plan.api_url,
        headers={"Authorization": f"Bearer {plan.admin_token}"},
        timeout=aiohttp.ClientTimeout(CALL_TIMEOUT_S),
    ) as api:
        await _create(api, "/v1/domains", {"name": config.domain})
        for user in users:
            await _create(api, "/v1/accounts", {"address": user, "password": config.dev_password})
    done.write_text("\n".join(users) + "\n")


async def _create(api: aiohttp.ClientSession, path: str, body: dict[str, str]) -> None:
    async with api.post(path, json=body) as response:
        if response.status not in {201, 409}:
            problem = await response.json()
            raise LaunchError(f"{path}: {problem['detail']}")
