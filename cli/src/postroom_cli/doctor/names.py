"""DNS as the checks ask it (RFC 1035)."""

from __future__ import annotations

from typing import Final

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver
import dns.reversename

TIMEOUT_S: Final = 5.0


class NamesUnavailable(Exception):
    """No name server answered: nothing can be said about the name."""


class Names:
    """Asks the system's name servers, or the one given as `address` or `address:port`."""

    def __init__(self, server: str | None = None) -> None:
        self._resolver = dns.asyncresolver.Resolver(configure=server is None)
        self._resolver.lifetime = TIMEOUT_S
        if server is not None:
            host, _, port = server.rpartition(":") if server.count(":") == 1 else (server, "", "")
            self._resolver.nameservers = [host]
            self._resolver.port = int(port or 53)

    async def look_up(self, name: str, kind: str) -> list[str]:
        """The records as text; empty when there are none. Raises NamesUnavailable."""
        try:
            answer = await self._resolver.resolve(name, kind, raise_on_no_answer=False)
        except (dns.resolver.NXDOMAIN, dns.name.LabelTooLong, dns.name.EmptyLabel):
            return []
        except (dns.exception.DNSException, OSError) as error:
            raise NamesUnavailable(f"{name} {kind}: {error}") from error
        if kind == "TXT":
            return [b"".join(record.strings).decode("utf-8", "replace") for record in answer]
        return [record.to_text() for record in answer]

    async def addresses(self, name: str) -> list[str]:
        """IPv4 and IPv6. Raises NamesUnavailable."""
        return await self.look_up(name, "A") + await self.look_up(name, "AAAA")

    async def exchanges(self, domain: str) -> list[str]:
        """Hosts of the MX records, best first, without the dot at the end (RFC 5321 §5.1)."""
        records = sorted((int(text.split()[0]), text.split()[1]) for text in await self.look_up(domain, "MX"))
        return [host.rstrip(".").lower() for _, host in records]

    async def names_of(self, address: str) -> list[str]:
        """The PTR records of an address."""
        pointers = await self.look_up(dns.reversename.from_address(address).to_text(), "PTR")
        return [pointer.rstrip(".").lower() for pointer in pointers]
