"""Answers of the DNS: remembered for their time, asked once at a time, bounded in number and time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from mail_proto.authentication.inquiry import Answer, Inquiry, Question
from mail_runtime.contracts.errors import Refused, Unavailable
from mail_runtime.contracts.store.screening import Told
from postroom_cli.demo.dns import dns_server
from smtp_in.checks import dns as dns_module
from smtp_in.checks.dns import Dns
from smtp_in.checks.sender import organizational
from smtp_in.policy import reports
from smtp_in.policy.reports import Reports

ZONE = """
a.test. 60 IN A 192.0.2.1
a.test. 60 IN AAAA 2001:db8::1
a.test. 60 IN TXT "one " "and two"
a.test. 60 IN MX 20 second.test.
a.test. 60 IN MX 10 first.test.
1.2.0.192.in-addr.arpa. 60 IN PTR a.test.
"""


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, list[str]]]:
    with dns_server(ZONE) as found:
        yield found


async def test_records(server: tuple[str, list[str]]) -> None:
    dns = Dns(server[0], 2.0)
    expected = {
        Question("a.test", "A"): ("192.0.2.1",),
        Question("A.TEST", "AAAA"): ("2001:db8::1",),
        Question("a.test", "TXT"): ("one and two",),
        Question("a.test", "MX"): ("first.test", "second.test"),
        Question("1.2.0.192.in-addr.arpa", "PTR"): ("a.test",),
        Question("nothing.test", "A"): (),
        Question("a.test", "PTR"): (),
        Question("a..test", "A"): (),
        Question("x" * 64 + ".test", "A"): (),
        Question(("x" * 63 + ".") * 5, "A"): (),
        Question("\\999.test", "A"): (),
        Question("b\xfcro.test", "A"): (),
    }
    for question, records in expected.items():
        assert await dns.ask(question) == Answer(records), question


async def test_an_answer_is_remembered_for_its_time(server: tuple[str, list[str]]) -> None:
    now, (address, asked) = 0.0, server
    dns = Dns(address, 2.0, lambda: now)
    question = Question("a.test", "A")
    before = len(asked)
    await asyncio.gather(*(dns.ask(question) for _ in range(50)))
    now = 59.0
    await dns.ask(question)
    assert len(asked) == before + 1
    now = 61.0
    await dns.ask(question)
    assert len(asked) == before + 2


async def test_no_more_is_remembered_than_there_is_room(
    server: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns_module, "MAX_REMEMBERED", 10)
    dns = Dns(server[0], 2.0)
    for number in range(30):
        await dns.ask(Question(f"{number}.test", "A"))
    assert len(dns._known) == 10


async def test_silence_is_a_failure_in_time() -> None:
    dns, loop = Dns("127.0.0.1:1", 30.0), asyncio.get_running_loop()

    def asking() -> Inquiry[list[bool]]:
        first = yield Question("1.test", "A")
        second = yield Question("2.test", "A")
        return [first.failed, second.failed]

    began = loop.time()
    assert await dns.conclude(asking(), until=began + 0.3) == [True, True]
    assert loop.time() - began < 5


async def test_a_message_may_ask_so_many(server: tuple[str, list[str]]) -> None:
    dns, loop = Dns(server[0], 2.0), asyncio.get_running_loop()

    def asking() -> Inquiry[int]:
        count = 0
        while not (yield Question("a.test", "A")).failed:
            count += 1
        return count

    assert await dns.conclude(asking(), until=loop.time() + 30) == dns_module.MAX_QUESTIONS


@pytest.mark.parametrize(
    ("domain", "registered"),
    [
        ("a.b.example.com", "example.com"),
        ("a.example.co.uk", "example.co.uk"),
        ("co.uk", "co.uk"),
        ("example.github.io", "example.github.io"),
        ("a.example.unknown-suffix", "example.unknown-suffix"),
        ("x.xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("com", "com"),
        ("", ""),
    ],
)
def test_registered_domains(domain: str, registered: str) -> None:
    assert organizational(domain) == registered


class Store:
    """Fails in this order, then takes all."""

    def __init__(self, *failures: Exception) -> None:
        self._failures = list(failures)
        self.told: list[str] = []
        self.was_told = asyncio.Event()

    async def tell(self, told: list[Told]) -> None:
        if self._failures:
            raise self._failures.pop(0)
        self.told += [one.type for one in told]
        self.was_told.set()


async def test_reports_wait_for_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "PAUSE_S", 0.0)
    store = Store(Unavailable("away"), Unavailable("away"))
    waiting = Reports(store)
    waiting.add(Told(type="dmarc.passed", content={}))
    task = asyncio.create_task(waiting.run())
    await store.was_told.wait()
    waiting.add(Told(type="dmarc.failed", content={}))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert store.told == ["dmarc.passed", "dmarc.failed"]


async def test_what_the_store_refuses_does_not_hold_up_the_rest() -> None:
    store = Store(Refused("no"))
    waiting = Reports(store)
    waiting.add(Told(type="dmarc.odd", content={}))
    task = asyncio.create_task(waiting.run())
    while waiting._waiting.qsize() or waiting._batch:
        await asyncio.sleep(0)
    waiting.add(Told(type="dmarc.passed", content={}))
    await store.was_told.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert store.told == ["dmarc.passed"]


async def test_no_more_reports_wait_than_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "MAX_WAITING", 3)
    waiting = Reports(Store())
    for _ in range(10):
        waiting.add(Told(type="dmarc.passed", content={}))
    assert waiting._waiting.qsize() == 3
