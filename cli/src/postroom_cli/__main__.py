"""The `postroom` command."""

from __future__ import annotations

import typer
from rich.console import Console

from postroom_cli.command import complete
from postroom_cli.commands import (
    accounts,
    aliases,
    backup,
    dkim,
    doctor,
    domains,
    exporting,
    importing,
    queue,
    remotes,
    sending,
    tokens,
)
from postroom_cli.demo.story import tell_story
from postroom_cli.launcher.config import LaunchError, read_config
from postroom_cli.run import run

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Run Postroom on one machine, and administer any Postroom through its REST API.",
)


@app.command("run")
def run_command() -> None:
    """Start Postroom with everything it needs; Ctrl-C stops it."""
    complete(_run(), LaunchError)


@app.command("demo")
def demo_command() -> None:
    """Watch a message go from Alice to Bill's mail server and his answer arrive by push."""
    complete(tell_story(Console()), LaunchError)


async def _run() -> None:
    await run(read_config(), Console())


for subject in (
    domains,
    accounts,
    aliases,
    tokens,
    queue,
    remotes,
    dkim,
    sending,
    importing,
    exporting,
    backup,
    doctor,
):
    subject.add_to(app)


if __name__ == "__main__":
    app()
