"""Where mail for a domain goes: MX, implicit MX, null MX (RFC 5321 §5.1, RFC 7505)."""

from __future__ import annotations

import asyncio
import ipaddress
import random
from dataclasses import dataclass
from typing import Final, Literal

import dns.exception
import dns.name

from smtp_out.names import Answer, LookupFailed, Names, text_of

# RFC 5321 §5.1 wants at least two addresses tried; a bound against zones made to waste our time.
HOSTS_LIMIT: Final = 10


class NoRoute(Exception):
    """The domain can't be reached: `result` says whether trying later may help (status: RFC 3463)."""

    def __init__(self, result: Literal["deferred", "failed"], status: str, text: str) -> None:
        super().__init__(text)
        self.result: Literal["deferred", "failed"] = result
        self.status, self.text = status, text


@dataclass(frozen=True, slots=True)
class MailHosts:
    """Hosts to try, in this order. `site` names whoever runs them: domains with the same hosts share it.

    `authentic`: DNSSEC vouches for the hosts' names.
    """

    names: tuple[str, ...]
    site: str
    authentic: bool = False


@dataclass(frozen=True, slots=True)
class Addresses:
    """Of one host, the families in turn. `name` has them where the host's is an alias; empty: it isn't."""

    texts: tuple[str, ...]
    authentic: bool = False
    name: str = ""


class Routes:
    """Look-ups for one process; any number at the same time."""

    def __init__(self, names: Names, hostname: str) -> None:
        self._names = names
        self._own_name = hostname.lower().rstrip(".")

    async def hosts(self, domain: str) -> MailHosts:
        """An address literal gives its address. Raises NoRoute."""
        if domain.startswith("["):
            address = _literal(domain)
            return MailHosts((address,), address)
        answer = await self._lookup(name_of(domain), "MX")
        if not answer.exists:
            raise NoRoute("failed", "5.1.2", f"the domain {domain} does not exist")
        records = [(int(record.preference), text_of(record.exchange)) for record in answer.records]
        if not records:
            # No MX: the domain's own address is its mail server (implicit MX).
            return MailHosts((domain,), domain.lower(), answer.authentic)
        if all(host == "" for _, host in records):
            raise NoRoute("failed", "5.1.10", f"the domain {domain} accepts no mail (null MX)")
        usable = self._usable(domain, records)
        best = min(preference for preference, _ in usable)
        site = min(host for preference, host in usable if preference == best)
        return MailHosts(_in_order(usable), site, answer.authentic)

    def _usable(self, domain: str, records: list[tuple[int, str]]) -> list[tuple[int, str]]:
        """From our own entry on, mail would come back to us (RFC 5321 §5.1)."""
        own = min((preference for preference, host in records if host == self._own_name), default=None)
        usable = [record for record in records if own is None or record[0] < own]
        if usable:
            # An address where a name belongs is a mistake, or a try to make us talk to ourselves (RFC 5321 §5.1).
            usable = [record for record in usable if record[1] and not is_address(record[1])]
            if not usable:
                raise NoRoute("failed", "5.4.4", f"the domain {domain} names no mail server that could have an address")
        if not usable:
            raise NoRoute("failed", "5.4.6", f"mail for {domain} loops back to this server, which doesn't hold it")
        return usable

    async def addresses(self, host: str) -> Addresses:
        """IP addresses of a host: IPv6 and IPv4 in turn, so that a family that is broken costs one attempt.

        Raises NoRoute: it has none, or DNS doesn't answer.
        """
        if is_address(host):
            return Addresses((host,))
        name = name_of(host)
        found = await asyncio.gather(self._lookup(name, "AAAA"), self._lookup(name, "A"), return_exceptions=True)
        families: list[list[str]] = []
        authentic, owner = True, ""
        for answer in found:
            if isinstance(answer, Answer):
                families.append([record.address for record in answer.records])
                if answer.records and answer.name != name:
                    owner = text_of(answer.name)
                authentic = authentic and answer.authentic
            elif not isinstance(answer, NoRoute):
                raise answer
        addresses = _in_turn(families)
        if addresses:
            return Addresses(addresses, authentic, owner)
        for answer in found:
            if isinstance(answer, NoRoute):
                raise answer
        raise NoRoute("failed", "5.4.4", f"the mail server {host} has no address")

    async def _lookup(self, name: dns.name.Name, kind: str) -> Answer:
        try:
            return await self._names.lookup(name, kind)
        except LookupFailed as error:
            raise NoRoute("deferred", "4.4.3", str(error)) from error


def _in_order(records: list[tuple[int, str]]) -> tuple[str, ...]:
    """By preference, shuffled among equals, no host twice."""
    random.shuffle(records)
    records.sort(key=lambda record: record[0])
    return tuple(dict.fromkeys(host for _, host in records))[:HOSTS_LIMIT]


def _in_turn(families: list[list[str]]) -> tuple[str, ...]:
    """The first of each, the second of each, …; each family shuffled, as it has no order."""
    for family in families:
        random.shuffle(family)
    longest = max((len(family) for family in families), default=0)
    return tuple(family[turn] for turn in range(longest) for family in families if turn < len(family))


def name_of(domain: str) -> dns.name.Name:
    """Raises NoRoute: it is no domain name."""
    try:
        return dns.name.from_text(domain.rstrip(".") + ".")
    except (dns.exception.DNSException, UnicodeError) as error:
        raise NoRoute("failed", "5.1.2", f"{domain} is no domain name") from error


def _literal(domain: str) -> str:
    """address-literal = "[" ( IPv4-address-literal / "IPv6:" IPv6-addr ) "]" (RFC 5321 §4.1.3)."""
    text = domain.strip("[]")
    if text.lower().startswith("ipv6:"):
        text = text[5:]
    if not is_address(text):
        raise NoRoute("failed", "5.1.2", f"{domain} is no address literal")
    return text


def is_address(text: str) -> bool:
    """An IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
