"""The `postroom` command."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

import typer
from rich.console import Console

from postroom_cli.demo.story import tell_story
from postroom_cli.launcher.config import LaunchError, read_config
from postroom_cli.run import run

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Postroom on one machine."
)


@app.command("run")
def run_command() -> None:
    """Start Postroom with everything it needs; Ctrl-C stops it."""
    _complete(_run())


@app.command("demo")
def demo_command() -> None:
    """Watch a message go from Alice to Bill's mail server and his answer arrive by push."""
    _complete(tell_story(Console()))


async def _run() -> None:
    await run(read_config(), Console())


def _complete(work: Coroutine[Any, Any, None]) -> None:
    try:
        asyncio.run(work)
    except LaunchError as error:
        Console(stderr=True).print(f"postroom: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


@app.callback()
def main() -> None:
    """Postroom on one machine."""


if __name__ == "__main__":
    app()
