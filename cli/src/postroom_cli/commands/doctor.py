"""`postroom doctor`: look at everything that mail needs, and say what to do."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from postroom_cli.command import CommandError, Context, command
from postroom_cli.doctor.domain_records import check_domain
from postroom_cli.doctor.finding import Finding, ok, problem
from postroom_cli.doctor.listeners import LISTENERS, check_host, check_listener
from postroom_cli.doctor.names import Names
from postroom_cli.doctor.signing_keys import check_keys
from postroom_cli.rest import RestError, segment

_MARK: Final = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "red")}


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "doctor", needs_rest=False)(doctor)


async def doctor(
    context: Context,
    domains: Annotated[list[str] | None, typer.Argument(help="default: those of the API")] = None,
    host: Annotated[str | None, typer.Option(help="name of this mail server, as its MX record has it")] = None,
    address: Annotated[str | None, typer.Option(help="where its ports are, when not at that name")] = None,
    selector: Annotated[list[str] | None, typer.Option(help="DKIM selector; repeatable")] = None,
    dns: Annotated[str | None, typer.Option("--dns", help="name server to ask, address or address:port")] = None,
    ports: Annotated[bool, typer.Option("--ports/--no-ports", help="try the public ports of --host")] = True,
    trusted: Annotated[Path | None, typer.Option("--ca", help="a CA that your clients trust besides the usual")] = None,
) -> None:
    """Check services, DNS records, ports and certificates; exit code 1 when there is a problem."""
    findings = await _services(context)
    names = Names(dns)
    checked = domains or await _own_domains(context)
    with context.out.progress("looking", len(checked) + (1 + len(LISTENERS) if host else 0)) as advance:
        for domain in checked:
            findings += await check_domain(names, domain, host, selector or [])
            findings += await _signing_keys(context, names, domain)
            advance(what=domain)
        if host is not None:
            findings += await check_host(names, host)
            advance(what=host)
            if ports:
                context_of_clients = ssl.create_default_context()
                if trusted is not None:
                    context_of_clients.load_verify_locations(trusted)
                checks = [check_listener(host, address or host, one, context_of_clients) for one in LISTENERS]
                for found in await asyncio.gather(*checks):
                    findings += found
                    advance()
    _report(context, findings)


async def _services(context: Context) -> list[Finding]:
    try:
        health: dict[str, Any] = await context.rest.call("GET", "/health")
    except RestError as error:
        return [problem("services", context.rest.url, str(error), "start it, or give --url and --token")]
    return [
        ok("services", part["name"], f"answers in {part['ms']} ms")
        if part["ok"]
        else problem("services", part["name"], part["detail"]["error"], "see whether it runs, and look at its log")
        for part in health["parts"]
    ]


async def _signing_keys(context: Context, names: Names, domain: str) -> list[Finding]:
    """The keys that Postroom signs with, against DNS; none where the API can't say."""
    try:
        keys: list[dict[str, Any]] = (await context.rest.call("GET", f"/domains/{segment(domain)}/dkim-keys"))["items"]
    except RestError:
        return []
    return await check_keys(names, domain, keys)


async def _own_domains(context: Context) -> list[str]:
    try:
        return [domain["name"] async for domain in context.rest.items("/domains")]
    except RestError:
        return []


def _report(context: Context, findings: list[Finding]) -> None:
    """Raises CommandError: there are problems."""
    if context.out.as_json:
        context.out.rows([finding.row() for finding in findings], ())
    else:
        for finding in findings:
            mark, style = _MARK[finding.state]
            context.out.line(f"{mark} {finding.subject}: {finding.found}", style)
            if finding.advice:
                context.out.line(f"    → {finding.advice}")
    problems = sum(finding.state == "problem" for finding in findings)
    if problems:
        raise CommandError(f"{problems} of {len(findings)} checks found a problem")
    context.out.note("no problem found")
