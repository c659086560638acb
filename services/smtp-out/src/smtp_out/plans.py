"""What is known of a job before its deliveries are claimed: its route, its hosts, whose limits it falls under."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from mail_proto.smtp.client_actions import Login, Manner, StartTlsUse
from smtp_out.connection import Target
from smtp_out.pace import Limits
from smtp_out.routes import Addresses, MailHosts, NoRoute, Routes
from smtp_out.table import Route, Table
from smtp_out.tls import TlsDemand

LMTP_PORT: Final = 24


@dataclass(frozen=True, slots=True)
class Plan:
    """`destination` names who shares the limits: one server, from one pool of ours. `fault`: there is no way."""

    domain: str
    route: Route
    destination: str
    limits: Limits
    hosts: MailHosts
    fault: NoRoute | None = None


class Planner:
    """Any number of plans at the same time."""

    def __init__(
        self,
        routes: Routes,
        table: Table,
        logins: dict[str, Login],
        hostname: str,
        relay_port: int,
        authorities: str = "",
    ) -> None:
        self._routes, self._table, self._logins = routes, table, logins
        self._hostname, self._relay_port, self._authorities = hostname, relay_port, authorities

    def route(self, domain: str, sender_domain: str) -> Route:
        """The row of the table for mail between these."""
        return self._table.route(domain, sender_domain)

    async def plan(self, domain: str, sender_domain: str) -> Plan:
        """Where the mail goes; failures are in the plan."""
        route = self.route(domain, sender_domain)
        limits = self._table.limits_of(route)
        try:
            hosts = MailHosts((route.host,), route.host.lower()) if route.host else await self._routes.hosts(domain)
        except NoRoute as fault:
            return Plan(domain, route, domain, limits, MailHosts((), domain), fault)
        destination = f"{hosts.site}:{self.port(route)}/{route.user or route.pool}"
        return Plan(domain, route, destination, limits, hosts)

    def port(self, route: Route) -> int:
        """Where the route's servers listen."""
        if route.port:
            return route.port
        return LMTP_PORT if route.protocol == "lmtp" else self._relay_port

    async def addresses(self, host: str) -> Addresses:
        """Raises NoRoute."""
        return await self._routes.addresses(host)

    def target(self, plan: Plan, host: str, address: str, demand: TlsDemand) -> Target | None:
        """How to speak to that address; None: we have no address of its family."""
        route = plan.route
        pool = self._table.pool_of(route)
        source = pool.source(address)
        if source is None:
            return None
        manner = Manner(
            hostname=pool.hostname or self._hostname,
            starttls="never" if route.implicit_tls or demand.level == "never" else _starttls(demand),
            lmtp=route.protocol == "lmtp",
            login=self._logins.get(route.password_file),
            never_ourselves=not route.host,
        )
        return Target(
            host=host,
            address=address,
            port=self.port(route),
            manner=manner,
            demand=demand,
            implicit_tls=route.implicit_tls,
            source=source,
            authorities=self._authorities,
        )


def _starttls(demand: TlsDemand) -> StartTlsUse:
    return "may" if demand.optional else "must"


def in_clear(target: Target) -> Target:
    """The same without TLS."""
    demand = TlsDemand("never")
    return replace(target, demand=demand, manner=replace(target.manner, starttls="never"))
