"""What TLS a host must offer: as configured, else by DANE, else by MTA-STS, else whatever it can do.

DANE comes first where DNSSEC vouches for it (RFC 8461 §2); both only for hosts that MX records name, which is where
an attacker could lead mail astray.
"""

from __future__ import annotations

from dataclasses import replace

import dns.name

from mail_runtime.contracts.store import TlsWish
from smtp_out.dane import usable
from smtp_out.names import Answer, LookupFailed, Names
from smtp_out.plans import Plan
from smtp_out.routes import Addresses, NoRoute, is_address
from smtp_out.sts_policies import StsPolicies
from smtp_out.tls import OPPORTUNISTIC, TlsDemand


class TlsPolicies:
    """Any number of questions at the same time."""

    def __init__(self, names: Names, sts: StsPolicies | None) -> None:
        self._names, self._sts = names, sts

    async def demand(self, plan: Plan, host: str, port: int, addresses: Addresses, tls_wish: TlsWish = "") -> TlsDemand:
        """`tls_wish`: the sender's. Raises NoRoute: the host mustn't be used."""
        if tls_wish == "required":
            return await self._required(plan, host, port, addresses)
        if plan.route.tls != "may":
            return TlsDemand(plan.route.tls, "configured")
        if plan.route.host or plan.domain.startswith("[") or tls_wish == "optional":
            return OPPORTUNISTIC
        dane = await self._dane(plan, host, port, addresses)
        return dane or await self._mta_sts(plan.domain, host)

    async def _required(self, plan: Plan, host: str, port: int, addresses: Addresses) -> TlsDemand:
        """RFC 8689 §4.2.1: a certificate for a name that nobody on the way could have changed. Raises NoRoute."""
        if plan.route.tls == "never" or is_address(host):
            raise NoRoute("failed", "5.7.10", f"TLS is required, and can't be had with {host}")
        if not plan.route.host:
            dane = await self._dane(plan, host, port, addresses)
            if dane is not None and dane.tlsa:
                return replace(dane, required=True)
            if not plan.hosts.authentic and host.lower() != plan.domain.lower():
                policy = await self._sts.policy(plan.domain) if self._sts is not None else None
                if policy is None or policy.mode == "none" or not policy.allows(host):
                    text = (
                        f"TLS is required, and neither DNSSEC nor MTA-STS vouches for {host} as server of {plan.domain}"
                    )
                    raise NoRoute("failed", "5.7.10", text)
        return TlsDemand("verify", "requiretls", required=True)

    async def _dane(self, plan: Plan, host: str, port: int, addresses: Addresses) -> TlsDemand | None:
        """Raises NoRoute: DNSSEC should answer and doesn't, so somebody may want to hide it (RFC 7672 §2.1.2)."""
        if not plan.hosts.authentic:
            return None
        for base in await self._base_names(host, addresses):
            answer = await self._looked_up(f"_{port}._tcp.{base}.", "TLSA")
            if answer.records and answer.authentic:
                # Records that can't be used still say that TLS is there (RFC 7672 §2.2).
                return TlsDemand("must", "dane", tlsa=usable(answer.records), names=(base, plan.domain))
        return None

    async def _base_names(self, host: str, addresses: Addresses) -> tuple[str, ...]:
        """Where TLSA records may be (RFC 7672 §2.2.2, §2.2.3): where the host's aliases lead, then the host itself.

        An alias that DNSSEC vouches for may lead to where it doesn't: then only the alias counts.
        """
        if addresses.authentic:
            return (addresses.name, host) if addresses.name else (host,)
        if addresses.name and (await self._looked_up(f"{host}.", "CNAME")).authentic:
            return (host,)
        return ()

    async def _looked_up(self, name: str, kind: str) -> Answer:
        try:
            return await self._names.lookup(dns.name.from_text(name), kind)
        except LookupFailed as error:
            raise NoRoute("deferred", "4.4.3", f"{kind} records of {name}: {error}") from error

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
