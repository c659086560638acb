"""Routing rules against a DNS server on loopback (RFC 5321 §5.1, RFC 7505)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest
from dnslib import QTYPE, RCODE, RR
from dnslib.server import BaseResolver, DNSHandler, DNSRecord, DNSServer

from smtp_out.names import Names
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
many.mx.test.   60 IN A 127.0.0.2
many.mx.test.   60 IN A 127.0.0.3
many.mx.test.   60 IN A 127.0.0.4
many.mx.test.   60 IN AAAA ::2
many.mx.test.   60 IN AAAA ::3
text.test.      60 IN TXT "no mail"
signed.test.    60 IN MX 10 a.mx.test.
"""


class Zone(BaseResolver):  # type: ignore[misc]
    """Answers from ZONE; broken.test always fails."""

    def __init__(self) -> None:
        self.records = RR.fromZone(ZONE)
        self.asked: Counter[str] = Counter()

    def resolve(self, request: DNSRecord, handler: DNSHandler) -> DNSRecord:
        reply = request.reply()
        name, kind = request.q.qname, QTYPE[request.q.qtype]
        self.asked[f"{name}{kind}"] += 1
        reply.header.ad = int(str(name).startswith("signed."))
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
def zone() -> Zone:
    return Zone()


@pytest.fixture(scope="module")
def dns_server(zone: Zone) -> Iterator[str]:
    server = DNSServer(zone, address="127.0.0.1", port=0, logger=type("Quiet", (), {"__getattr__": _quiet})())
    server.start_thread()
    yield f"127.0.0.1:{server.server.server_address[1]}"
    server.server.shutdown()
    server.server.server_close()


def _quiet(self: object, name: str) -> object:
    return lambda *arguments: None


@pytest.fixture
def routes(dns_server: str) -> Routes:
    return Routes(Names(dns_server), "us.test")


async def refusal(routes: Routes, domain: str) -> tuple[str, str]:
    with pytest.raises(NoRoute) as caught:
        await routes.hosts(domain)
    return caught.value.result, caught.value.status


async def test_mx_by_preference(routes: Routes) -> None:
    hosts = await routes.hosts("two.test")
    assert (hosts.names, hosts.site) == (("a.mx.test", "b.mx.test"), "a.mx.test")


async def test_equal_preferences_are_shuffled(routes: Routes) -> None:
    firsts = {(await routes.hosts("equal.test")).names[0] for _ in range(40)}
    assert firsts == {"a.mx.test", "b.mx.test"}


async def test_without_mx_the_domain_itself(routes: Routes) -> None:
    assert (await routes.hosts("implicit.test")).names == ("implicit.test",)
    assert (await routes.addresses("implicit.test")).texts == ("127.0.0.5",)


async def test_null_mx_is_permanent(routes: Routes) -> None:
    assert await refusal(routes, "null.test") == ("failed", "5.1.10")


async def test_no_such_domain_is_permanent(routes: Routes) -> None:
    assert await refusal(routes, "nowhere.test") == ("failed", "5.1.2")


async def test_a_failing_dns_server_is_temporary(routes: Routes) -> None:
    assert await refusal(routes, "broken.test") == ("deferred", "4.4.3")


async def test_no_dns_server_is_temporary() -> None:
    assert await refusal(Routes(Names("127.0.0.1:1", timeout_s=0.5), "us.test"), "two.test") == ("deferred", "4.4.3")


async def test_alias_of_a_domain(routes: Routes) -> None:
    assert (await routes.hosts("alias.test")).names == ("a.mx.test", "b.mx.test")


async def test_an_endless_alias_ends(routes: Routes) -> None:
    with pytest.raises(NoRoute):
        await routes.addresses((await routes.hosts("loop.test")).names[0])


async def test_from_our_own_entry_on_nothing_is_used(routes: Routes) -> None:
    assert (await routes.hosts("backup.test")).names == ("a.mx.test",)
    assert await refusal(routes, "ours.test") == ("failed", "5.4.6")


async def test_addresses_of_both_families_in_turn(routes: Routes) -> None:
    assert (await routes.addresses("a.mx.test")).texts == ("::1", "127.0.0.1")
    both = (await routes.addresses("many.mx.test")).texts
    assert [":" in text for text in both] == [True, False, True, False, False]


async def test_a_host_without_address(routes: Routes) -> None:
    for host, status in (("text.test", "5.4.4"), ("gone.mx.test", "5.4.4"), ("a.broken.test", "4.4.3")):
        with pytest.raises(NoRoute) as caught:
            await routes.addresses(host)
        assert caught.value.status == status


async def test_address_literals(routes: Routes) -> None:
    assert (await routes.hosts("[127.0.0.1]")).names == ("127.0.0.1",)
    assert (await routes.hosts("[IPv6:::1]")).names == ("::1",)
    assert await refusal(routes, "[nonsense]") == ("failed", "5.1.2")


async def test_answers_are_kept_for_their_ttl_and_asked_for_once(dns_server: str, zone: Zone) -> None:
    now = 0.0
    names = Names(dns_server, clock=lambda: now)
    routes = Routes(names, "us.test")
    zone.asked.clear()
    await asyncio.gather(*(routes.hosts("two.test") for _ in range(20)))
    now = 59.0
    await routes.hosts("two.test")
    assert zone.asked["two.test.MX"] == 1
    now = 61.0
    await routes.hosts("two.test")
    assert zone.asked["two.test.MX"] == 2


async def test_failures_are_kept_for_a_moment_only(dns_server: str, zone: Zone) -> None:
    now = 0.0
    routes = Routes(Names(dns_server, clock=lambda: now), "us.test")
    await refusal(routes, "broken.test")
    asked = zone.asked["broken.test.MX"]
    await refusal(routes, "broken.test")
    assert zone.asked["broken.test.MX"] == asked
    now = 11.0
    await refusal(routes, "broken.test")
    assert zone.asked["broken.test.MX"] > asked


async def test_one_who_is_cancelled_doesnt_take_the_answer_from_others(dns_server: str) -> None:
    routes = Routes(Names(dns_server), "us.test")
    first, second = (asyncio.create_task(routes.hosts("two.test")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).names == ("a.mx.test", "b.mx.test")


async def test_the_cache_is_bounded(dns_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smtp_out.names.CACHE_LIMIT", 3)
    names = Names(dns_server)
    routes = Routes(names, "us.test")
    for number in range(10):
        await refusal(routes, f"x{number}.test")
    assert len(names._kept) == 3


@pytest.mark.parametrize("validating", [True, False])
async def test_only_a_resolver_that_is_trusted_makes_answers_authentic(dns_server: str, validating: bool) -> None:
    routes = Routes(Names(dns_server, validating=validating), "us.test")
    assert (await routes.hosts("signed.test")).authentic is validating
    assert not (await routes.hosts("two.test")).authentic
