"""`postroom remotes`: domains of others that are tried in a way of their own."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from postroom_cli.command import CommandError, Context, command
from postroom_cli.rest import RestError, segment
from postroom_cli.values import duration_s

_app: Final = typer.Typer(no_args_is_help=True, help="Domains of others that are tried in a way of their own.")
_SETTINGS: Final = ("retry_first_s", "retry_longest_s", "lifetime_s", "delay_notice_s", "defer_permanent")

Domain = Annotated[str, typer.Argument(help="a domain that mail is sent to")]
First = Annotated[str | None, typer.Option(help="the pause before the second attempt: 90, 15m, 2h, 1d, or none")]
Longest = Annotated[str | None, typer.Option(help="pauses double up to this")]
Lifetime = Annotated[str | None, typer.Option(help="then it is given up; for mail that is queued from now on")]
Notice = Annotated[str | None, typer.Option(help="then the sender is told of the delay; for mail from now on")]
Defer = Annotated[bool | None, typer.Option("--defer-permanent/--bounce-permanent", help="try again after 5xx")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(_app, name="remotes")


def _path(domain: str) -> str:
    return f"/remote-domains/{segment(domain)}"


@command(_app, "list")
async def list_remotes(context: Context) -> None:
    """All domains with settings of their own, by name."""
    rows = [row async for row in context.rest.items("/remote-domains")]
    context.out.rows(rows, ("name", *_SETTINGS))


@command(_app, "show")
async def show_remote(context: Context, domain: Domain) -> None:
    """One domain's settings."""
    context.out.item(await context.rest.call("GET", _path(domain)))


@command(_app, "set")
async def set_remote(
    context: Context,
    domain: Domain,
    retry_first: First = None,
    retry_longest: Longest = None,
    lifetime: Lifetime = None,
    delay_notice: Notice = None,
    defer_permanent: Defer = None,
) -> None:
    """Change how a domain is tried; what isn't given stays, and `none` means: as everywhere."""
    options = {
        "retry_first_s": retry_first,
        "retry_longest_s": retry_longest,
        "lifetime_s": lifetime,
        "delay_notice_s": delay_notice,
    }
    changes: dict[str, Any] = {name: duration_s(text) for name, text in options.items() if text is not None}
    if defer_permanent is not None:
        changes["defer_permanent"] = defer_permanent
    if not changes:
        raise CommandError("give what is to be changed: see --help")
    changed = await context.rest.call("PUT", _path(domain), {**await _known(context, domain), **changes})
    context.out.done(f"{changed['name']} was changed", changed)


async def _known(context: Context, domain: str) -> dict[str, Any]:
    try:
        found = await context.rest.call("GET", _path(domain))
    except RestError as error:
        if error.status != 404:
            raise
        return {}
    return {name: found[name] for name in _SETTINGS}


@command(_app, "delete")
async def delete_remote(context: Context, domain: Domain) -> None:
    """Let a domain be tried as every domain is."""
    await context.rest.call("DELETE", _path(domain))
    context.out.done(f"{domain} is tried as every domain is")
