"""Where mail for a domain goes: MX, implicit MX, null MX (RFC 5321 §5.1, RFC 7505)."""

from __future__ import annotations

import asyncio
import ipaddress
import random
from typing import Any, Final, Literal

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver

# One look-up with its retries; RFC 1123 §6.1.3.3 asks for patience, the queue has more of it.
LOOKUP_TIMEOUT_S: Final = 20.0
# RFC 5321 §5.1 wants at least two addresses tried; a bound against zones made to waste our time.
HOSTS_LIMIT: Final = 10
# A record's alias chain that the server leaves to us.
CNAME_LIMIT: Final = 8


class NoRoute(Exception):
    """The domain can't be reached: `result` says whether trying later may help (status: RFC 3463)."""

    def __init__(self, result: Literal["deferred", "failed"], status: str, text: str) -> None:
        super().__init__(text)
        self.result: Literal["deferred", "failed"] = result
        self.status, self.text = status, text


class Routes:
    """Look-ups for one process; any number at the same time. `server` is "address:port" or empty."""

    def __init__(self, server: str, hostname: str, lookup_timeout_s: float = LOOKUP_TIMEOUT_S) -> None:
        self._own_name = hostname.lower().rstrip(".")
        self._resolver = dns.asyncresolver.Resolver(configure=not server)
        self._resolver.lifetime = lookup_timeout_s
        if server:
            host, _, port = server.rpartition(":")
            self._resolver.nameservers = [host.strip("[]")]
            self._resolver.port = int(port)

    async def hosts(self, domain: str) -> list[str]:
        """Hosts to try, in this order; an address literal gives its address. Raises NoRoute."""
        if domain.startswith("["):
            return [_literal(domain)]
        answer = await self._lookup(_name(domain), "MX")
        if answer is None:
            raise NoRoute("failed", "5.1.2", f"the domain {domain} does not exist")
        records = [(int(record.preference), record.exchange) for record in answer]
        if not records:
            # No MX: the domain's own address is its mail server (implicit MX).
            return [domain]
        if all(exchange == dns.name.root for _, exchange in records):
            raise NoRoute("failed", "5.1.10", f"the domain {domain} accepts no mail (null MX)")
        return self._ordered(domain, [(preference, _text(exchange)) for preference, exchange in records])

    def _ordered(self, domain: str, records: list[tuple[int, str]]) -> list[str]:
        """By preference, shuffled among equals; from our own entry on, mail would come back to us."""
        own = min((preference for preference, host in records if host == self._own_name), default=None)
        usable = [record for record in records if record[1] and (own is None or record[0] < own)]
        if not usable:
            raise NoRoute("failed", "5.4.6", f"mail for {domain} loops back to this server, which doesn't hold it")
        random.shuffle(usable)
        usable.sort(key=lambda record: record[0])
        return [host for _, host in usable[:HOSTS_LIMIT]]

    async def addresses(self, host: str) -> list[str]:
        """IP addresses of a host, IPv4 first. Raises NoRoute: it has none, or DNS doesn't answer."""
        if _is_address(host):
            return [host]
        name = _name(host)
        found = await asyncio.gather(self._lookup(name, "A"), self._lookup(name, "AAAA"), return_exceptions=True)
        addresses: list[str] = []
        for answer in found:
            if isinstance(answer, BaseException):
                if not isinstance(answer, NoRoute):
                    raise answer
            elif answer is not None:
                addresses += [record.address for record in answer]
        if addresses:
            return addresses
        for answer in found:
            if isinstance(answer, NoRoute):
                raise answer
        raise NoRoute("failed", "5.4.4", f"the mail server {host} has no address")

    async def _lookup(self, name: dns.name.Name, kind: str) -> list[Any] | None:
        """Records; none: the name exists without such records; None: it doesn't exist. Raises NoRoute: no answer."""
        for _ in range(CNAME_LIMIT):
            try:
                answer = await self._resolver.resolve(name, kind, raise_on_no_answer=False, search=False)
            except dns.resolver.NXDOMAIN:
                return None
            except (dns.exception.DNSException, OSError) as error:
                raise NoRoute("deferred", "4.4.3", f"no answer from DNS about {_text(name)}") from error
            if answer.rrset is not None:
                return list(answer.rrset)
            if answer.canonical_name == name:
                return []
            name = answer.canonical_name
        raise NoRoute("deferred", "4.4.3", f"too many aliases in DNS at {_text(name)}")


def _name(domain: str) -> dns.name.Name:
    try:
        return dns.name.from_text(domain.rstrip(".") + ".")
    except (dns.exception.DNSException, UnicodeError) as error:
        raise NoRoute("failed", "5.1.2", f"{domain} is no domain name") from error


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def _literal(domain: str) -> str:
    """address-literal = "[" ( IPv4-address-literal / "IPv6:" IPv6-addr ) "]" (RFC 5321 §4.1.3)."""
    text = domain.strip("[]")
    if text.lower().startswith("ipv6:"):
        text = text[5:]
    if not _is_address(text):
        raise NoRoute("failed", "5.1.2", f"{domain} is no address literal")
    return text


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
