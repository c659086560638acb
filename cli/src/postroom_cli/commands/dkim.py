"""`postroom dkim`: the keys that mail of a domain is signed with."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from postroom_cli.command import Context, command
from postroom_cli.rest import segment
from postroom_cli.values import given

_app: Final = typer.Typer(no_args_is_help=True, help="The keys that mail of a domain is signed with (DKIM).")

Domain = Annotated[str, typer.Argument(help="a domain of ours")]
Selector = Annotated[str, typer.Argument(help="see list")]


class Algorithm(StrEnum):
    RSA = "rsa-sha256"
    ED25519 = "ed25519-sha256"


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(_app, name="dkim")


def _path(domain: str, *more: str) -> str:
    return "/".join(["/domains", segment(domain), "dkim-keys", *(segment(part) for part in more)])


@command(_app, "list")
async def list_keys(context: Context, domain: Domain) -> None:
    """All keys of a domain, with the DNS records that belong to them."""
    rows = (await context.rest.call("GET", _path(domain)))["items"]
    context.out.rows(rows, ("selector", "algorithm", "state", "record_name", "record"))


@command(_app, "create")
async def create_key(
    context: Context,
    domain: Domain,
    selector: Annotated[str | None, typer.Option(help="default: made of the day and the algorithm")] = None,
    algorithm: Annotated[Algorithm, typer.Option()] = Algorithm.RSA,
) -> None:
    """Make a key; publish its record, then activate it."""
    wanted = given(selector=selector, algorithm=algorithm)
    made: dict[str, Any] = await context.rest.call("POST", _path(domain), wanted)
    words = f"publish this, then activate {made['selector']}:\n{made['record_name']}. TXT {_zone_text(made['record'])}"
    context.out.done(words, made)


def _zone_text(record: str) -> str:
    """As a zone file has it: strings of at most 255 octets (RFC 1035 §3.3)."""
    return " ".join(f'"{record[at : at + 255]}"' for at in range(0, len(record), 255))


@command(_app, "activate")
async def activate_key(context: Context, domain: Domain, selector: Selector) -> None:
    """Sign with this key from now on, and no more with others of its algorithm."""
    changed = await context.rest.call("POST", _path(domain, selector, "activate"))
    context.out.done(f"mail of {domain} is signed with {changed['selector']}", changed)


@command(_app, "retire")
async def retire_key(context: Context, domain: Domain, selector: Selector) -> None:
    """Sign with this key no more."""
    changed = await context.rest.call("POST", _path(domain, selector, "retire"))
    context.out.done(f"{changed['selector']} is retired", changed)


@command(_app, "delete")
async def delete_key(context: Context, domain: Domain, selector: Selector) -> None:
    """Remove a key that isn't active."""
    await context.rest.call("DELETE", _path(domain, selector))
    context.out.done(f"{selector} was removed")
