"""The `postroom` command."""

from __future__ import annotations

import asyncio
import sys

import typer
from rich.console import Console

from postroom_cli.launcher.config import LaunchError, read_config
from postroom_cli.run import run

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Postroom on one machine.")


@app.command("run")
def run_command() -> None:
    """Start Postroom with everything it needs; Ctrl-C stops it."""
    console = Console()
    try:
        asyncio.run(run(read_config(), console))
    except LaunchError as error:
        Console(stderr=True).print(f"postroom: {error}", style="red", highlight=False, markup=False)
        sys.exit(1)


@app.callback()
def main() -> None:
    """Postroom on one machine."""


if __name__ == "__main__":
    app()
