"""Routes and policies as the administrator writes them: one TOML file for all replicas (decision 15).

[limits]                                # of each destination, where its route says nothing else
connections = 10

[pools.bulk]                            # where connections come from
addresses = ["192.0.2.10", "2001:db8::10"]
hostname = "bulk.example.com"

[[routes]]                              # the first that fits is taken; without host the domain's MX
recipient_domains = ["example.org", ".example.net"]
sender_domains = ["shop.example.com"]
host = "smtp.example.net"
port = 587
tls = "verify"
user = "postroom"
password_file = "/run/secrets/smarthost"
"""

from __future__ import annotations

import ipaddress
import random
import sys
from pathlib import Path
from typing import Literal

import msgspec

from mail_proto.smtp.client_actions import Login
from smtp_out.pace import Limits
from smtp_out.tls import TlsLevel


class TableError(Exception):
    """The file is wrong; the text says what to change."""


class Pool(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Our own addresses, of which one of the right family is used, and the name that fits them in EHLO."""

    addresses: tuple[str, ...] = ()
    hostname: str = ""

    def __post_init__(self) -> None:
        for address in self.addresses:
            ipaddress.ip_address(address)

    def source(self, address: str) -> str | None:
        """Ours for that remote address; empty: any; None: there is none of its family."""
        version = ipaddress.ip_address(address).version
        fitting = [own for own in self.addresses if ipaddress.ip_address(own).version == version]
        if fitting:
            return random.choice(fitting)  # noqa: S311 (nothing secret)
        return None if self.addresses else ""


class Route(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How mail between such domains travels. No domains: all. `.example.net`: what is below it. Port 0: the usual."""

    recipient_domains: tuple[str, ...] = ()
    sender_domains: tuple[str, ...] = ()
    host: str = ""
    port: int = 0
    protocol: Literal["smtp", "lmtp"] = "smtp"
    tls: TlsLevel = "may"
    implicit_tls: bool = False
    user: str = ""
    password_file: str = ""
    pool: str = ""
    limits: Limits | None = None

    def __post_init__(self) -> None:
        if self.user and not self.host:
            raise ValueError("a route with a user needs a host: passwords aren't for MX hosts")
        if self.user and self.tls not in {"must", "verify"}:
            raise ValueError('a route with a user needs tls = "verify" or "must"')
        if bool(self.user) != bool(self.password_file):
            raise ValueError("user and password_file come together")
        if self.implicit_tls and (not self.host or self.tls == "never"):
            raise ValueError("implicit_tls needs a host, and tls")
        if not 0 <= self.port <= 65535:
            raise ValueError("port is a number up to 65535")

    def fits(self, recipient_domain: str, sender_domain: str) -> bool:
        """Whether it is for mail between these domains."""
        return _among(recipient_domain, self.recipient_domains) and _among(sender_domain, self.sender_domains)


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of the file."""

    limits: Limits = Limits()
    pools: dict[str, Pool] = {}
    routes: tuple[Route, ...] = ()

    def route(self, recipient_domain: str, sender_domain: str) -> Route:
        """The first that fits; domains in any case."""
        recipient_domain, sender_domain = recipient_domain.lower(), sender_domain.lower()
        for route in self.routes:
            if route.fits(recipient_domain, sender_domain):
                return route
        return DIRECT

    def limits_of(self, route: Route) -> Limits:
        return route.limits or self.limits

    def pool_of(self, route: Route) -> Pool:
        return self.pools[route.pool] if route.pool else ANY


DIRECT = Route()
ANY = Pool()


def _among(domain: str, patterns: tuple[str, ...]) -> bool:
    return not patterns or any(
        domain.endswith(pattern) if pattern.startswith(".") else domain == pattern
        for pattern in map(str.lower, patterns)
    )


def read_table(path: str) -> tuple[Table, dict[str, Login]]:
    """The table of a file (none: an empty one) and the credentials by password file. Raises TableError."""
    if not path:
        return Table(), {}
    try:
        table = msgspec.toml.decode(Path(path).read_bytes(), type=Table)
        logins = {
            route.password_file: Login(route.user, Path(route.password_file).read_text(encoding="utf-8").strip())
            for route in table.routes
            if route.user
        }
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise TableError(f"{path}: {error}") from error
    for route in table.routes:
        if route.pool and route.pool not in table.pools:
            raise TableError(f"{path}: there is no pool {route.pool!r}")
    return table, logins


def table_or_exit(path: str) -> tuple[Table, dict[str, Login]]:
    """`read_table`, ending the process with the sentence when it fails."""
    try:
        return read_table(path)
    except TableError as error:
        sys.exit(f"settings: POSTROOM_RELAY_FILE: {error}")
