"""How often the public API may be called: token buckets, for each actor and for each client address.

They are this process's own. A count shared by all replicas would cost a write to Postgres per call, more than most
calls, to guard what is a process's own too: its CPU. With n replicas a caller gets up to n times as much. What must be
counted once for all of them, failed logins, is (`accounts/guard.py`).
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mail_runtime.loopback import is_loopback
from store_api.accounts.guard import network_of
from store_api.api.problems import Refusal, problem


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_s` calls a second in the long run, `burst` at once."""

    name: str
    per_s: float
    burst: int


# A process answers 500 to 1,000 calls a second: one account may take a tenth of it, the administrators all.
ACTORS: Final = {
    "account": Rate("account", 100.0, 1_000),
    "domain": Rate("domain", 200.0, 2_000),
    "admin": Rate("admin", 1_000.0, 10_000),
}
# Of an address, or of an IPv6 network of one subscriber, whoever calls from there.
ADDRESS: Final = Rate("address", 500.0, 5_000)
# A call without valid credentials counts as so many: 100 at once, then 10 a second.
UNAUTHENTICATED_COST: Final = 50
MAX_BUCKETS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Reading:
    """What is left after a call; `retry_after_s` is over 0 when it was one too many."""

    rate: Rate
    remaining: int
    full_in_s: int
    retry_after_s: int

    @property
    def headers(self) -> dict[str, str]:
        """draft-ietf-httpapi-ratelimit-headers-10 §3, §4; RFC 9110 §10.2.3."""
        window_s = math.ceil(self.rate.burst / self.rate.per_s)
        headers = {
            "RateLimit-Policy": f'"{self.rate.name}";q={self.rate.burst};w={window_s}',
            "RateLimit": f'"{self.rate.name}";r={self.remaining};t={self.full_in_s}',
        }
        return headers | ({"Retry-After": str(self.retry_after_s)} if self.retry_after_s else {})


class Rates:
    """All buckets of the process; those that were used least recently are full again anyway. For one event loop."""

    def __init__(self, scale: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`scale` multiplies all rates; 0: no limits."""
        self._scale, self._clock = scale, clock
        self._buckets: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def take(self, rate: Rate, caller: str) -> Reading:
        """Count a call, if it may be made."""
        if self._scale == 0:
            return Reading(rate, rate.burst, 0, 0)
        rate, level, now = self._level(rate, caller)
        lacking = 1 - level
        if lacking <= 0:
            level -= 1
        self._set(rate, caller, level, now)
        full_in_s = math.ceil((rate.burst - level) / rate.per_s)
        return Reading(rate, max(0, int(level)), full_in_s, math.ceil(lacking / rate.per_s) if lacking > 0 else 0)

    def charge(self, rate: Rate, caller: str, calls: int) -> None:
        """Count a call that was made as so many more; the bucket may owe them."""
        if self._scale != 0:
            rate, level, now = self._level(rate, caller)
            self._set(rate, caller, level - calls, now)

    def _level(self, rate: Rate, caller: str) -> tuple[Rate, float, float]:
        """The scaled rate, how many calls are left of it now, and when that is."""
        rate = Rate(rate.name, rate.per_s * self._scale, max(1, round(rate.burst * self._scale)))
        now = self._clock()
        level, at = self._buckets.get((rate.name, caller), (float(rate.burst), now))
        return rate, min(float(rate.burst), level + (now - at) * rate.per_s), now

    def _set(self, rate: Rate, caller: str, level: float, now: float) -> None:
        self._buckets[rate.name, caller] = (level, now)
        self._buckets.move_to_end((rate.name, caller))
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)


def take_or_refuse(rates: Rates, rate: Rate, caller: str) -> Reading:
    """Raises Refusal `rate-limited`."""
    reading = rates.take(rate, caller)
    if reading.retry_after_s:
        raise Refusal("rate-limited", f"more than {rate.per_s:g} calls a second", reading.headers)
    return reading


class AddressRates:
    """ASGI middleware: counts each call under /v1 for its address, and tells what is left of the actor's rate.

    Loopback isn't counted: it is this machine's own tools, or a proxy that doesn't say for whom it calls.
    """

    def __init__(self, app: ASGIApp, rates: Rates) -> None:
        self._app, self._rates = app, rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        peer = scope["client"][0] if scope.get("client") else ""
        caller = None if is_loopback(peer) else _caller(peer)
        if caller is not None and (reading := self._rates.take(ADDRESS, caller)).retry_after_s:
            refusal = problem(429, "too many calls from this address", reading.headers, kind="rate-limited")
            await refusal(scope, receive, send)
            return

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] == 401 and caller is not None:
                    self._rates.charge(ADDRESS, caller, UNAUTHENTICATED_COST - 1)
                actor = scope.get("state", {}).get("rate")
                if actor is not None:
                    headers = MutableHeaders(scope=message)
                    for name, value in actor.headers.items():
                        headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, tell)


def _caller(peer: str) -> str:
    return network_of(peer) if ":" in peer else peer
