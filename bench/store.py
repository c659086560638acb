"""The store by itself, over HTTP: prints a table of figures beside their goals; tests nothing.

One Postroom is started on free ports for each storage asked for. The load comes from this process, on the same
machine, and is included in what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict
from typing import Final

import aiohttp
import uvloop
from bench.subjects import ingest, lists, logins, mailboxes, search
from bench.subjects.stack import Figure, Stack
from rich.console import Console
from rich.table import Table

from mail_runtime.store_client import StoreClient
from mail_testkit.running import RunningPostroom, run_postroom, temporary_directory

Measure = Callable[[Stack], Awaitable[list[Figure]]]

# Measured in this order; `--only NAME` picks some.
SUBJECTS: Final[dict[str, Measure]] = {
    "ingest": ingest.measure,
    "mailboxes": mailboxes.measure,
    "lists": lists.measure,
    "logins": logins.measure,
    "search": search.measure,
}


async def measure(postroom: RunningPostroom, storage: str, names: Iterable[str], seconds: float) -> list[Figure]:
    """The figures of the subjects named, on a running system."""
    headers = {"Authorization": f"Bearer {postroom.admin_token}"}
    figures: list[Figure] = []
    async with (
        StoreClient(postroom.api_url, postroom.service_token) as store,
        aiohttp.ClientSession(postroom.api_url, headers=headers) as rest,
    ):
        for name in names:
            figures += await SUBJECTS[name](Stack(postroom, store, rest, storage, seconds))
    return figures


def on_new_system(storage: str, workers: int, names: Iterable[str], seconds: float) -> list[Figure]:
    """Start a system with its bodies in `storage`, measure, stop it."""
    environ = {"POSTROOM_LOG_LEVEL": "warning", "WORKERS": str(workers), **({"S3": "1"} if storage == "s3" else {})}
    with temporary_directory() as directory, run_postroom(directory / "data", **environ) as postroom:
        return uvloop.run(measure(postroom, storage, names, seconds))


def table(figures: Iterable[Figure]) -> Table:
    """As people read it."""
    shown = Table(title=f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    for column, justify in (("subject", "left"), ("measured", "right"), ("goal", "right"), ("", "left"), ("", "left")):
        shown.add_column(column, justify="right" if justify == "right" else "left")
    for figure in figures:
        goal = "" if figure.goal is None else f"{'≥' if figure.more_is_better else '<'} {figure.goal:g} {figure.unit}"
        mark = {None: "", True: "yes", False: "no"}[figure.is_reached]
        shown.add_row(figure.subject, f"{figure.value:,.1f} {figure.unit}", goal, mark, figure.note)
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=SUBJECTS, nargs="+", default=list(SUBJECTS), help="subjects to measure")
    parser.add_argument("--s3", action="store_true", help="measure with bodies in SeaweedFS")
    parser.add_argument("--workers", type=int, default=2, help="processes of each service (WORKERS)")
    parser.add_argument("--seconds", type=float, default=8.0, help="how long rates are measured")
    parser.add_argument("--json", action="store_true", help="one JSON object for each figure")
    arguments = parser.parse_args()
    figures = on_new_system("s3" if arguments.s3 else "file", arguments.workers, arguments.only, arguments.seconds)
    if arguments.json:
        for figure in figures:
            print(json.dumps(asdict(figure) | {"is_reached": figure.is_reached}))
    else:
        Console().print(table(figures))


if __name__ == "__main__":
    main()
