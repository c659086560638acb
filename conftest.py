"""Settings and fixtures of the whole project: one running Postroom for all tests that need one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from mail_testkit.running import RunningPostroom, run_postroom, temporary_directory
from postroom_cli.launcher.config import free_port

# The same examples in each run, however slow the machine is at the moment; chance is for `make fuzz`.
hypothesis.settings.register_profile(
    "postroom", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("postroom")


@pytest.fixture(scope="session")
def postroom() -> Iterator[RunningPostroom]:
    """A Postroom with `alice` and `bob`; retries and refusals come soon. Tests share it, with accounts of their own."""
    with (
        temporary_directory() as directory,
        run_postroom(
            directory / "data",
            POSTROOM_RETRY_FIRST_S="1",
            POSTROOM_LOGIN_FAILURE_DELAY_S="0.05",
            POSTROOM_WEBHOOKS_PRIVATE="1",
            POSTROOM_PUBLIC_PORT=str(free_port()),
        ) as system,
    ):
        yield system


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A temporary directory that other users may enter."""
    with temporary_directory() as directory:
        yield directory
