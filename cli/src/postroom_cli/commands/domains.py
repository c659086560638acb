"""`postroom domains`: the domains whose mail is kept."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from postroom_cli.command import CommandError, Context, command
from postroom_cli.rest import segment
from postroom_cli.values import given, limits

_app: Final = typer.Typer(no_args_is_help=True, help="The domains whose mail is kept.")

Domain = Annotated[str, typer.Argument(help="its name")]
AliasOf = Annotated[str | None, typer.Option(help="it is one more name of this domain")]
Octets = Annotated[str | None, typer.Option(help="for all accounts together: 500M, 2G, or none")]
Messages = Annotated[str | None, typer.Option(help="for all accounts together, or none")]
EachOctets = Annotated[str | None, typer.Option(help="for each account that has no quota of its own")]
EachMessages = Annotated[str | None, typer.Option(help="for each account that has no quota of its own")]
Days = Annotated[str | None, typer.Option(help="messages leave it after so many days; none: never")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(_app, name="domains")


@command(_app, "list")
async def list_domains(context: Context) -> None:
    """All domains, by name."""
    rows = [domain async for domain in context.rest.items("/domains")]
    context.out.rows(rows, ["name", "alias_of", "quota_octets", "account_quota_octets", "created_at"])


@command(_app, "show")
async def show_domain(context: Context, domain: Domain) -> None:
    """One domain."""
    context.out.item(await context.rest.call("GET", f"/domains/{segment(domain)}"))


@command(_app, "create")
async def create_domain(context: Context, domain: Domain, alias_of: AliasOf = None) -> None:
    """Create a domain; `postroom doctor` then says which DNS records it needs."""
    made = await context.rest.call("POST", "/domains", {"name": domain, **given(alias_of=alias_of)})
    context.out.done(f"{made['name']} was created", made)


@command(_app, "set")
async def set_domain(
    context: Context,
    domain: Domain,
    quota_octets: Octets = None,
    quota_messages: Messages = None,
    account_quota_octets: EachOctets = None,
    account_quota_messages: EachMessages = None,
    trash_days: Days = None,
    junk_days: Days = None,
) -> None:
    """Change a domain; what isn't given stays."""
    changes = limits(
        quota_octets=quota_octets,
        quota_messages=quota_messages,
        account_quota_octets=account_quota_octets,
        account_quota_messages=account_quota_messages,
        trash_days=trash_days,
        junk_days=junk_days,
    )
    if not changes:
        raise CommandError("give what is to be changed: see --help")
    changed = await context.rest.call("PATCH", f"/domains/{segment(domain)}", changes)
    context.out.done(f"{changed['name']} was changed", changed)


@command(_app, "delete")
async def delete_domain(context: Context, domain: Domain) -> None:
    """Remove a domain that has no accounts and aliases any more."""
    await context.rest.call("DELETE", f"/domains/{segment(domain)}")
    context.out.done(f"{domain} was removed")
