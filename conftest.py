"""Fixtures of the whole project: one running Postroom for all tests that need one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mail_testkit.running import RunningPostroom, run_postroom


@pytest.fixture(scope="session")
def postroom() -> Iterator[RunningPostroom]:
    """A Postroom with `alice` and `bob`; retries come soon. Tests share it: each makes its own accounts."""
    # Not pytest's own directory: when root runs the tests, Postgres has to be able to enter it.
    directory = Path(tempfile.mkdtemp(prefix="postroom-"))
    directory.chmod(0o755)
    try:
        with run_postroom(directory / "data", POSTROOM_RETRY_FIRST_S="1") as system:
            yield system
    finally:
        shutil.rmtree(directory, ignore_errors=True)
