"""Routing rules against a DNS server on loopback (RFC 5321 §5.1, RFC 7505)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dnslib import QTYPE, RCODE, RR
from dnslib.server import BaseResolver, DNSHandler, DNSRecord, DNSServer

from smtp_out.routes import NoRoute, Routes

ZONE = """
two.test.       60 IN MX 20 b.mx.test.
two.test.       60 IN MX 10 a.mx.test.
equal.test.     60 IN MX 10 a.mx.test.
equal.test.     60 IN MX 10 b.mx.test.
implicit.test.  60 IN A 127.0.0.5
null.test.      60 IN MX 0 .
alias.test.     60 IN CNAME two.test.
loop.test.      60 IN CNAME loop.test.
backup.test.    60 IN MX 10 a.mx.test.
backup.test.    60 IN MX 20 us.test.
backup.test.    60 IN MX 20 b.mx.test.
backup.test.    60 IN MX 30 c.mx.test.
ours.test.      60 IN MX 10 us.test.
a.mx.test.      60 IN A 127.0.0.1
a.mx.test.      60 IN AAAA ::1
b.mx.test.      60 IN A 127.0.0.2
text.test.      60 IN TXT "no mail"
"""


class Zone(BaseResolver):  # type: ignore[misc]
    """Answers from ZONE; broken.test always fails."""

    def __init__(self) -> None:
        self.records = RR.fromZone(ZONE)

    def resolve(self, request: DNSRecord, handler: DNSHandler) -> DNSRecord:
        reply = request.reply()
        name, kind = request.q.qname, QTYPE[request.q.qtype]
        if str(name).endswith("broken.test."):
            reply.header.rcode = RCODE.SERVFAIL
            return reply
        here = [record for record in self.records if record.rname == name]
        if not here:
            reply.header.rcode = RCODE.NXDOMAIN
        for record in here:
            if QTYPE[record.rtype] in {kind, "CNAME"}:
                reply.add_answer(record)
        return reply


@pytest.fixture(scope="module")
def dns_server() -> Iterator[str]:
    server = DNSServer(Zone(), address="127.0.0.1", port=0, logger=type("Quiet", (), {"__getattr__": _quiet})())
    server.start_thread()
    yield f"127.0.0.1:{server.server.server_address[1]}"
    server.server.shutdown()
    server.server.server_close()


def _quiet(self: object, name: str) -> object:
    return lambda *arguments: None


@pytest.fixture
def routes(dns_server: str) -> Routes:
    return Routes(dns_server, "us.test", lookup_timeout_s=3)


async def refusal(routes: Routes, domain: str) -> tuple[str, str]:
    with pytest.raises(NoRoute) as caught:
        await routes.hosts(domain)
    return caught.value.result, caught.value.status


async def test_mx_by_preference(routes: Routes) -> None:
    assert await routes.hosts("two.test") == ["a.mx.test", "b.mx.test"]


async def test_equal_preferences_are_shuffled(routes: Routes) -> None:
    firsts = {(await routes.hosts("equal.test"))[0] for _ in range(40)}
    assert firsts == {"a.mx.test", "b.mx.test"}


async def test_without_mx_the_domain_itself(routes: Routes) -> None:
    assert await routes.hosts("implicit.test") == ["implicit.test"]
    assert await routes.addresses("implicit.test") == ["127.0.0.5"]


async def test_null_mx_is_permanent(routes: Routes) -> None:
    assert await refusal(routes, "null.test") == ("failed", "5.1.10")


async def test_no_such_domain_is_permanent(routes: Routes) -> None:
    assert await refusal(routes, "nowhere.test") == ("failed", "5.1.2")


async def test_a_failing_dns_server_is_temporary(routes: Routes) -> None:
    assert await refusal(routes, "broken.test") == ("deferred", "4.4.3")


async def test_no_dns_server_is_temporary() -> None:
    assert await refusal(Routes("127.0.0.1:1", "us.test", 0.5), "two.test") == ("deferred", "4.4.3")


async def test_alias_of_a_domain(routes: Routes) -> None:
    assert await routes.hosts("alias.test") == ["a.mx.test", "b.mx.test"]


async def test_an_endless_alias_ends(routes: Routes) -> None:
    with pytest.raises(NoRoute):
        await routes.addresses((await routes.hosts("loop.test"))[0])


async def test_from_our_own_entry_on_nothing_is_used(routes: Routes) -> None:
    assert await routes.hosts("backup.test") == ["a.mx.test"]
    assert await refusal(routes, "ours.test") == ("failed", "5.4.6")


async def test_addresses_of_both_families(routes: Routes) -> None:
    assert await routes.addresses("a.mx.test") == ["127.0.0.1", "::1"]


async def test_a_host_without_address(routes: Routes) -> None:
    for host, status in (("text.test", "5.4.4"), ("gone.mx.test", "5.4.4"), ("a.broken.test", "4.4.3")):
        with pytest.raises(NoRoute) as caught:
            await routes.addresses(host)
        assert caught.value.status == status


async def test_address_literals(routes: Routes) -> None:
    assert await routes.hosts("[127.0.0.1]") == ["127.0.0.1"]
    assert await routes.hosts("[IPv6:::1]") == ["::1"]
    assert await refusal(routes, "[nonsense]") == ("failed", "5.1.2")
