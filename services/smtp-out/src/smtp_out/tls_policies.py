"""What TLS a host must offer: as configured, else by DANE, else by MTA-STS, else whatever it can do.

DANE comes first where DNSSEC vouches for it (RFC 8461 §2); both only for hosts that MX records name, which is where
an attacker could lead mail astray.
"""

from __future__ import annotations

import dns.name

from smtp_out.dane import usable
from smtp_out.names import LookupFailed, Names
from smtp_out.plans import Plan
from smtp_out.routes import Addresses, NoRoute
from smtp_out.sts_policies import StsPolicies
from smtp_out.tls import OPPORTUNISTIC, TlsDemand


class TlsPolicies:
    """Any number of questions at the same time."""

    def __init__(self, names: Names, sts: StsPolicies | None) -> None:
        self._names, self._sts = names, sts

    async def demand(self, plan: Plan, host: str, port: int, addresses: Addresses) -> TlsDemand:
        """Raises NoRoute: the host mustn't be used."""
        if plan.route.tls != "may":
            return TlsDemand(plan.route.tls, "configured")
        if plan.route.host or plan.domain.startswith("["):
            return OPPORTUNISTIC
        if plan.hosts.authentic and addresses.authentic:
            dane = await self._dane(plan.domain, host, port)
            if dane is not None:
                return dane
        return await self._mta_sts(plan.domain, host)

    async def _dane(self, domain: str, host: str, port: int) -> TlsDemand | None:
        """Raises NoRoute: DNSSEC should answer and doesn't, so somebody may want to hide it (RFC 7672 §2.1.2)."""
        try:
            answer = await self._names.lookup(dns.name.from_text(f"_{port}._tcp.{host}."), "TLSA")
        except LookupFailed as error:
            raise NoRoute("deferred", "4.4.3", f"TLSA records of {host}: {error}") from error
        if not answer.records or not answer.authentic:
            return None
        # Records that can't be used still say that TLS is there (RFC 7672 §2.2).
        return TlsDemand("must", "dane", tlsa=usable(answer.records), names=(host, domain))

    async def _mta_sts(self, domain: str, host: str) -> TlsDemand:
        """Raises NoRoute: the domain's policy doesn't name the host (RFC 8461 §5)."""
        policy = await self._sts.policy(domain) if self._sts is not None else None
        if policy is None or policy.mode == "none":
            return OPPORTUNISTIC
        allowed = policy.allows(host)
        if policy.mode == "testing":
            return TlsDemand("verify", "mta-sts", testing=True, excluded=not allowed)
        if not allowed:
            raise NoRoute("deferred", "4.7.0", f"the MTA-STS policy of {domain} doesn't allow {host}")
        return TlsDemand("verify", "mta-sts")
