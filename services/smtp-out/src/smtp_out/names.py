"""Look-ups in DNS for one process: cached as long as their TTL says, asked once at a time (RFC 2308, RFC 2181 §8)."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.name
import dns.resolver

# One look-up with its retries; RFC 1123 §6.1.3.3 asks for patience, the queue has more of it.
LOOKUP_TIMEOUT_S: Final = 20.0
# A record's alias chain that the server leaves to us.
CNAME_LIMIT: Final = 8
# Answers kept; the longest unused goes first. About 1 kB each.
CACHE_LIMIT: Final = 20_000
# However long a zone wants to be remembered, it may be changed in an emergency.
TTL_LIMIT_S: Final = 3600.0
# What doesn't exist, and what isn't answered (RFC 2308 §7.1 allows up to five minutes).
NEGATIVE_TTL_S: Final = 60.0
FAILURE_TTL_S: Final = 10.0


class LookupFailed(Exception):
    """DNS doesn't answer: nothing is known about the name, try later."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Records of a name; none: it exists without such records. `exists` False: there is no such name.

    `authentic`: the resolver validated it by DNSSEC, and is one whose word counts.
    """

    records: tuple[Any, ...]
    exists: bool = True
    authentic: bool = False
    # The name that has the records, after CNAMEs.
    name: dns.name.Name = dns.name.root


class Names:
    """Any number of look-ups at the same time. `server` is "address:port" or empty: the system's resolvers.

    `validating`: that server validates DNSSEC and the way to it is safe, so its AD flag counts (RFC 7672 §2.1.1).
    """

    def __init__(
        self,
        server: str,
        *,
        validating: bool = False,
        timeout_s: float = LOOKUP_TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._validating, self._clock = validating, clock
        self._resolver = dns.asyncresolver.Resolver(configure=not server)
        self._resolver.lifetime = timeout_s
        if server:
            host, _, port = server.rpartition(":")
            self._resolver.nameservers = [host.strip("[]")]
            self._resolver.port = int(port)
        if validating:
            # "Tell me whether it is authentic" without being sent the signatures (RFC 6840 §5.7).
            self._resolver.flags = dns.flags.RD | dns.flags.AD
        self._kept: OrderedDict[tuple[dns.name.Name, str], tuple[float, Answer | LookupFailed]] = OrderedDict()
        self._asking: dict[tuple[dns.name.Name, str], asyncio.Task[Answer]] = {}

    async def lookup(self, name: dns.name.Name, kind: str) -> Answer:
        """Raises LookupFailed."""
        key = (name, kind)
        kept = self._kept.get(key)
        if kept is not None and kept[0] > self._clock():
            self._kept.move_to_end(key)
            if isinstance(kept[1], LookupFailed):
                raise LookupFailed(str(kept[1]))
            return kept[1]
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._ask_and_keep(key), name="dns")
            task.add_done_callback(lambda done: self._forget(key, done))
        # One who is cancelled doesn't take the answer away from the others.
        return await asyncio.shield(task)

    def _forget(self, key: tuple[dns.name.Name, str], done: asyncio.Task[Answer]) -> None:
        del self._asking[key]
        if not done.cancelled():
            done.exception()  # whoever still waits gets it

    async def _ask_and_keep(self, key: tuple[dns.name.Name, str]) -> Answer:
        try:
            answer, ttl_s = await self._ask(*key)
        except LookupFailed as failure:
            self._keep(key, failure, FAILURE_TTL_S)
            raise
        self._keep(key, answer, ttl_s)
        return answer

    def _keep(self, key: tuple[dns.name.Name, str], answer: Answer | LookupFailed, ttl_s: float) -> None:
        self._kept[key] = (self._clock() + min(ttl_s, TTL_LIMIT_S), answer)
        self._kept.move_to_end(key)
        while len(self._kept) > CACHE_LIMIT:
            self._kept.popitem(last=False)

    async def _ask(self, name: dns.name.Name, kind: str) -> tuple[Answer, float]:
        """The answer and how many seconds it may be kept."""
        authentic, ttl_s = self._validating, TTL_LIMIT_S
        for _ in range(CNAME_LIMIT):
            try:
                found = await self._resolver.resolve(name, kind, raise_on_no_answer=False, search=False)
            except dns.resolver.NXDOMAIN as error:
                said = _all_authentic(error)
                return Answer((), exists=False, authentic=authentic and said, name=name), NEGATIVE_TTL_S
            except (dns.exception.DNSException, OSError) as error:
                raise LookupFailed(f"no answer from DNS about {text_of(name)}") from error
            authentic = authentic and bool(found.response.flags & dns.flags.AD)
            if found.rrset is not None:
                ttl_s = min(ttl_s, found.chaining_result.minimum_ttl)
                return Answer(tuple(found.rrset), authentic=authentic, name=found.canonical_name), ttl_s
            if found.canonical_name == name:
                return Answer((), authentic=authentic, name=name), NEGATIVE_TTL_S
            name = found.canonical_name
        raise LookupFailed(f"too many aliases in DNS at {text_of(name)}")


def _all_authentic(error: dns.resolver.NXDOMAIN) -> bool:
    responses = error.kwargs.get("responses") or {}
    return bool(responses) and all(response.flags & dns.flags.AD for response in responses.values())


def text_of(name: dns.name.Name) -> str:
    """Without the final dot, in lower case; the root is empty."""
    return "" if name == dns.name.root else name.to_text(omit_final_dot=True).lower()
