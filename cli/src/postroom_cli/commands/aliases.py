"""`postroom aliases`: addresses that lead to others."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import typer

from postroom_cli.command import CommandError, Context, command
from postroom_cli.rest import segment
from postroom_cli.values import given

_app: Final = typer.Typer(no_args_is_help=True, help="Aliases, distribution lists and catch-alls.")

Address = Annotated[str, typer.Argument(help="its address; `@example.test` is the catch-all of a domain")]
Members = Annotated[list[str], typer.Argument(help="addresses that it leads to")]


class Kind(StrEnum):
    ALIAS = "alias"
    LIST = "list"
    CATCH_ALL = "catch_all"


class Posting(StrEnum):
    ANYONE = "anyone"
    MEMBERS = "members"
    DOMAIN = "domain"


WhoMayPost = Annotated[Posting | None, typer.Option(help="who may write to it")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(_app, name="aliases")


@command(_app, "list")
async def list_aliases(
    context: Context,
    domain: Annotated[str | None, typer.Option(help="only of this domain")] = None,
    member: Annotated[str | None, typer.Option(help="only those that lead to this address")] = None,
) -> None:
    """Aliases, by address."""
    rows = [row async for row in context.rest.items("/aliases", given(domain=domain, member=member))]
    context.out.rows(rows, ["address", "kind", "name", "who_may_post", "members"])


@command(_app, "show")
async def show_alias(context: Context, address: Address) -> None:
    """One alias with its members."""
    path = f"/aliases/{segment(address)}"
    alias = await context.rest.call("GET", path)
    context.out.item({**alias, "members": [member async for member in context.rest.items(f"{path}/members")]})


@command(_app, "create")
async def create_alias(
    context: Context,
    address: Address,
    members: Members,
    kind: Annotated[Kind | None, typer.Option(help="default: catch_all for `@domain`, else alias")] = None,
    name: Annotated[str | None, typer.Option()] = None,
    who_may_post: WhoMayPost = None,
) -> None:
    """Create an alias that leads to one or more addresses, here or elsewhere."""
    kind = kind or (Kind.CATCH_ALL if address.startswith("@") else Kind.ALIAS)
    new = {"address": address, "kind": kind, "members": members, **given(name=name, who_may_post=who_may_post)}
    made = await context.rest.call("POST", "/aliases", new)
    context.out.done(f"{made['address']} leads to {made['members']} addresses", made)


@command(_app, "set")
async def set_alias(
    context: Context,
    address: Address,
    name: Annotated[str | None, typer.Option()] = None,
    who_may_post: WhoMayPost = None,
) -> None:
    """Change an alias; what isn't given stays."""
    changes = given(name=name, who_may_post=who_may_post)
    if not changes:
        raise CommandError("give what is to be changed: see --help")
    changed = await context.rest.call("PATCH", f"/aliases/{segment(address)}", changes)
    context.out.done(f"{changed['address']} was changed", changed)


@command(_app, "add")
async def add_members(context: Context, address: Address, members: Members) -> None:
    """Add members; those that are there already stay."""
    changed = await context.rest.call("POST", f"/aliases/{segment(address)}/members", {"members": members})
    context.out.done(f"{address} leads to {changed['members']} addresses", changed)


@command(_app, "remove")
async def remove_members(context: Context, address: Address, members: Members) -> None:
    """Take members out."""
    for member in members:
        await context.rest.call("DELETE", f"/aliases/{segment(address)}/members/{segment(member)}")
    context.out.done(f"{len(members)} members of {address} were taken out")


@command(_app, "delete")
async def delete_alias(context: Context, address: Address) -> None:
    """Remove an alias."""
    await context.rest.call("DELETE", f"/aliases/{segment(address)}")
    context.out.done(f"{address} was removed")
