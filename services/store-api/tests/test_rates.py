"""How often the API may be called."""

from __future__ import annotations

import asyncio
import secrets

import aiohttp

from mail_testkit.running import RunningPostroom
from store_api.api.rates import ADDRESS, UNAUTHENTICATED_COST, Rate, Rates


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    now = 0.0
    rates = Rates(1.0, lambda: now)
    rate = Rate("test", per_s=2.0, burst=4)
    assert [rates.take(rate, "a").retry_after_s for _ in range(6)] == [0, 0, 0, 0, 1, 1]
    assert rates.take(rate, "b").remaining == 3
    now = 0.5
    assert rates.take(rate, "a").retry_after_s == 0
    now = 100.0
    reading = rates.take(rate, "a")
    assert (reading.remaining, reading.full_in_s) == (3, 1)
    assert reading.headers == {"RateLimit-Policy": '"test";q=4;w=2', "RateLimit": '"test";r=3;t=1'}


def test_a_bucket_may_owe() -> None:
    now = 0.0
    rates = Rates(1.0, lambda: now)
    rate = Rate("test", per_s=2.0, burst=4)
    rates.charge(rate, "a", 10)
    assert rates.take(rate, "a").retry_after_s == 4
    now = 3.5
    assert rates.take(rate, "a").retry_after_s == 0


def test_the_scale() -> None:
    rate = Rate("test", per_s=1.0, burst=10)
    assert [Rates(0.1).take(rate, "a").retry_after_s for _ in range(2)] == [0, 0]
    small = Rates(0.1, lambda: 0.0)
    assert [small.take(rate, "a").retry_after_s for _ in range(2)] == [0, 10]
    off = Rates(0.0)
    assert not any(off.take(rate, "a").retry_after_s for _ in range(100))


async def test_answers_say_what_is_left(rest: aiohttp.ClientSession) -> None:
    async with rest.get("/v1/domains") as response:
        assert response.headers["RateLimit-Policy"].startswith('"admin";q=')
        assert response.headers["RateLimit"].startswith('"admin";r=')


async def test_guessing_tokens_is_stopped_for_that_address_only(postroom: RunningPostroom) -> None:
    address, other = (f"198.51.{secrets.randbelow(256)}.{secrets.randbelow(256)}" for _ in range(2))
    async with aiohttp.ClientSession(postroom.api_url) as session:

        async def get(peer: str, token: str) -> aiohttp.ClientResponse:
            # The test calls from loopback, like a proxy that says for whom.
            headers = {"X-Forwarded-For": peer, "Authorization": f"Bearer {token}"}
            async with session.get("/v1/domains", headers=headers) as response:
                await response.read()
                return response

        for _ in range(ADDRESS.burst // UNAUTHENTICATED_COST):
            assert (await get(address, secrets.token_hex())).status == 401
        # Meanwhile the bucket has filled again by ten such calls a second: ask faster.
        refused = []
        while not refused:
            answers = await asyncio.gather(*(get(address, secrets.token_hex()) for _ in range(30)))
            refused = [answer for answer in answers if answer.status == 429]
        assert int(refused[0].headers["Retry-After"]) >= 1
        assert refused[0].content_type == "application/problem+json"
        assert (await get(other, postroom.admin_token)).status == 200
