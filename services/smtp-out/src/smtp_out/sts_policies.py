"""MTA-STS policies of domains: looked for in DNS, fetched by HTTPS, kept for all replicas (RFC 8461 §3.3, §5.1).

A policy protects from the second message on, as long as it isn't forgotten: it is kept in a JetStream bucket on disk,
so that a restart or a new replica doesn't begin anew, with what this process read in front of it.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import aiohttp
import dns.name
import msgspec
import structlog
from aiohttp.abc import AbstractResolver, ResolveResult
from nats.errors import Error as NatsError
from nats.js.api import KeyValueConfig, StorageType
from nats.js.errors import BucketNotFoundError, KeyNotFoundError
from nats.js.kv import KeyValue

from mail_proto.mta_sts import MAX_AGE_LIMIT_S, POLICY_LIMIT_OCTETS, Policy, PolicyFault, parse_policy, record_id
from mail_runtime.bus import Bus, BusUnavailable
from smtp_out.names import LookupFailed, Names
from smtp_out.routes import NoRoute, Routes
from smtp_out.tls import context_for

log = structlog.get_logger()

BUCKET: Final = "relay_mta_sts"
BUCKET_OCTETS: Final = 256 * 1024 * 1024
# RFC 8461 §3.3: a minute to fetch, and after a failure not again within five.
FETCH_TIMEOUT_S: Final = 60.0
FAILURE_PAUSE_S: Final = 300.0
BUCKET_TIMEOUT_S: Final = 3.0
KNOWN_LIMIT: Final = 10_000
HTTPS_PORT: Final = 443


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A policy as it was fetched. `text` empty: it couldn't be, and isn't tried again until then."""

    id: str
    text: bytes
    until: float


class StsPolicies:
    """Use as `async with`; any number of questions at the same time."""

    def __init__(
        self,
        names: Names,
        routes: Routes,
        bus: Bus | None,
        authorities: str = "",
        port: int = HTTPS_PORT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._names, self._routes, self._bus = names, routes, bus
        self._authorities, self._port, self._clock = authorities, port, clock
        self._known: OrderedDict[str, Kept] = OrderedDict()
        self._fetching: dict[str, asyncio.Lock] = {}
        self._bucket: KeyValue | None = None
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> StsPolicies:
        connector = aiohttp.TCPConnector(
            resolver=_ByOurNames(self._routes), ssl=context_for("verify", self._authorities), force_close=True
        )
        self._http = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S), auto_decompress=False
        )
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._http is not None:
            await self._http.close()

    async def policy(self, domain: str) -> Policy | None:
        """The policy that counts now; None: the domain has none that is known."""
        try:
            named = await self._record(domain)
        except LookupFailed:
            named = None
        known = await self._kept(domain)
        if named is not None and (known is None or known.id != named or known.until <= self._clock()):
            known = await self._renewed(domain, named, known)
        if known is None or not known.text or known.until <= self._clock():
            return None
        return parse_policy(known.text)

    async def _record(self, domain: str) -> str | None:
        """The record's id, None: there is none. Raises LookupFailed."""
        answer = await self._names.lookup(dns.name.from_text(f"_mta-sts.{domain}."), "TXT")
        return record_id(b"".join(record.strings).decode("ascii", "replace") for record in answer.records)

    async def _renewed(self, domain: str, named: str, known: Kept | None) -> Kept | None:
        """What is fetched; else what was known, as long as it holds (RFC 8461 §5.1)."""
        async with self._fetching.setdefault(domain, asyncio.Lock()):
            latest = self._known.get(domain)
            if latest is not None and latest.id == named and latest.until > self._clock():
                return latest
            try:
                text = await self._fetch(domain)
                policy = parse_policy(text)
            except (aiohttp.ClientError, OSError, TimeoutError, PolicyFault) as error:
                log.info("mta_sts_not_fetched", domain=domain, error=str(error) or type(error).__name__)
                if known is not None and known.text and known.until > self._clock():
                    return known
                return self._note(domain, Kept(id=named, text=b"", until=self._clock() + FAILURE_PAUSE_S))
            finally:
                self._fetching.pop(domain, None)
            kept = Kept(id=named, text=text, until=self._clock() + policy.max_age_s)
            await self._store(domain, kept)
            return self._note(domain, kept)

    async def _fetch(self, domain: str) -> bytes:
        """Raises ClientError, TimeoutError, PolicyFault. Redirects aren't followed (RFC 8461 §3.3)."""
        assert self._http is not None, "use `async with`"
        url = f"https://mta-sts.{domain}:{self._port}/.well-known/mta-sts.txt"
        async with self._http.get(url, allow_redirects=False, headers={"Accept-Encoding": "identity"}) as answer:
            if answer.status != 200 or answer.content_type != "text/plain":
                raise PolicyFault(f"HTTP status {answer.status}, {answer.content_type}")
            text = bytearray()
            async for piece in answer.content.iter_any():
                text += piece
                if len(text) > POLICY_LIMIT_OCTETS:
                    raise PolicyFault("the policy is too long")
            return bytes(text)

    async def _kept(self, domain: str) -> Kept | None:
        if domain in self._known:
            return self._known[domain]
        try:
            async with asyncio.timeout(BUCKET_TIMEOUT_S):
                bucket = await self._opened()
                entry = await bucket.get(_key(domain)) if bucket else None
        except KeyNotFoundError:
            entry = None
        except (BusUnavailable, NatsError, OSError, TimeoutError):
            self._bucket = None
            return None
        if entry is None or not entry.value:
            # Remembered too, or each message would ask.
            return self._note(domain, Kept(id="", text=b"", until=0.0))
        return self._note(domain, msgspec.msgpack.decode(entry.value, type=Kept))

    async def _store(self, domain: str, kept: Kept) -> None:
        try:
            async with asyncio.timeout(BUCKET_TIMEOUT_S):
                bucket = await self._opened()
                if bucket is not None:
                    await bucket.put(_key(domain), msgspec.msgpack.encode(kept))
        except (BusUnavailable, NatsError, OSError, TimeoutError) as error:
            self._bucket = None
            log.info("mta_sts_not_kept", domain=domain, error=repr(error))

    async def _opened(self) -> KeyValue | None:
        if self._bucket is None and self._bus is not None:
            jetstream = self._bus.jetstream()
            try:
                self._bucket = await jetstream.key_value(BUCKET)
            except BucketNotFoundError:
                config = KeyValueConfig(
                    bucket=BUCKET, ttl=MAX_AGE_LIMIT_S, storage=StorageType.FILE, max_bytes=BUCKET_OCTETS, history=1
                )
                self._bucket = await jetstream.create_key_value(config)
        return self._bucket

    def _note(self, domain: str, kept: Kept) -> Kept:
        self._known[domain] = kept
        self._known.move_to_end(domain)
        while len(self._known) > KNOWN_LIMIT:
            self._known.popitem(last=False)
        return kept


class _ByOurNames(AbstractResolver):
    """aiohttp asks the DNS that the relay asks."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        try:
            addresses = await self._routes.addresses(host)
        except NoRoute as error:
            raise OSError(error.text) from error
        return [
            ResolveResult(hostname=host, host=address, port=port, family=_family(address), proto=0, flags=0)
            for address in addresses.texts
        ]

    async def close(self) -> None:
        return None


def _family(address: str) -> int:
    return int(socket.AF_INET6 if ":" in address else socket.AF_INET)


def _key(domain: str) -> str:
    return domain.encode().hex()
