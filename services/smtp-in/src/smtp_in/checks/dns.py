"""Answers of the DNS: asked once for all connections, remembered for their time to live, never an exception.

What doesn't answer in time counts as failed, and so do questions beyond what one message may ask.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import dns.asyncresolver
import dns.exception
import dns.name
import dns.resolver

from mail_proto.authentication.inquiry import Answer, Inquiry, Question
from smtp_in.metrics import LOOKUPS

T = TypeVar("T")

# What one message may ask. SPF alone may want 10 terms with 10 names each; honest mail asks a dozen.
MAX_QUESTIONS: Final = 150
# Look-ups under way for all connections: each has a socket.
MAX_AT_ONCE: Final = 200
MAX_REMEMBERED: Final = 20_000
MAX_TTL_S: Final = 3_600.0
# RFC 2308 §5 would take the zone's own time; a minute keeps new records from being missed for long.
ABSENT_TTL_S: Final = 60.0
# So long nobody asks again what just failed.
FAILED_TTL_S: Final = 5.0
# Of one answer; a key of 4,096 bits has 700 characters.
MAX_RECORDS: Final = 50
MAX_TEXT: Final = 8_192


class Dns:
    """For one process. `server` is "address:port"; empty: the system's resolvers."""

    def __init__(self, server: str, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises ValueError: `server` can't be read. dns.exception.DNSException: the system has no resolvers."""
        self._clock = clock
        self._resolver = dns.asyncresolver.Resolver(configure=not server)
        self._resolver.lifetime = timeout_s
        if server:
            host, _, port = server.rpartition(":")
            self._resolver.nameservers = [host.strip("[]")]
            self._resolver.port = int(port)
        self._known: dict[Question, tuple[float, Answer]] = {}
        self._asking: dict[Question, asyncio.Task[Answer]] = {}
        self._room = asyncio.Semaphore(MAX_AT_ONCE)

    async def ask(self, question: Question) -> Answer:
        """Never raises."""
        question = Question(question.name.lower(), question.kind)
        known = self._known.get(question)
        if known is not None and known[0] > self._clock():
            LOOKUPS.labels("remembered").inc()
            return known[1]
        asking = self._asking.get(question)
        if asking is None:
            asking = asyncio.get_running_loop().create_task(self._ask(question), name="dns-question")
            self._asking[question] = asking
            asking.add_done_callback(lambda _: self._asking.pop(question, None))
        # Others may wait for the same answer: it is fetched even if this one gives up.
        return await asyncio.shield(asking)

    async def _ask(self, question: Question) -> Answer:
        async with self._room:
            answer, ttl_s = await self._look_up(question)
        LOOKUPS.labels("failed" if answer.failed else "answered").inc()
        self._known.pop(question, None)
        while len(self._known) >= MAX_REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[question] = (self._clock() + ttl_s, answer)
        return answer

    async def _look_up(self, question: Question) -> tuple[Answer, float]:
        try:
            found = await self._resolver.resolve(
                dns.name.from_text(question.name.rstrip(".") + "."),
                question.kind,
                raise_on_no_answer=False,
                search=False,
            )
        except dns.resolver.NXDOMAIN:
            return Answer(), ABSENT_TTL_S
        except (dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel, dns.name.BadEscape, UnicodeError):
            return Answer(), ABSENT_TTL_S
        except (dns.exception.DNSException, OSError, EOFError):
            return Answer(failed=True), FAILED_TTL_S
        if found.rrset is None:
            return Answer(), ABSENT_TTL_S
        return Answer(_texts(question, list(found.rrset))), min(float(found.rrset.ttl), MAX_TTL_S)

    async def conclude(self, inquiry: Inquiry[T], *, until: float) -> T:
        """Drive an inquiry to its end; from the loop's time `until` on, everything it asks has failed."""
        asked, loop = 0, asyncio.get_running_loop()
        try:
            question = next(inquiry)
            while True:
                asked += 1
                answer = Answer(failed=True)
                if asked <= MAX_QUESTIONS and loop.time() < until:
                    try:
                        async with asyncio.timeout_at(until):
                            answer = await self.ask(question)
                    except TimeoutError:
                        pass
                question = inquiry.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result


def _texts(question: Question, records: list[Any]) -> tuple[str, ...]:
    if question.kind == "MX":
        records.sort(key=lambda record: int(record.preference))
    return tuple([_text(question, record) for record in records[:MAX_RECORDS]])


def _text(question: Question, record: Any) -> str:
    match question.kind:
        case "TXT":
            return b"".join(record.strings).decode("latin-1")[:MAX_TEXT]
        case "MX":
            return str(record.exchange.to_text(omit_final_dot=True))
        case "PTR":
            return str(record.target.to_text(omit_final_dot=True))
        case _:
            return str(record.address)
