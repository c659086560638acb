"""One attempt to send a transmission to a domain: its hosts in turn, an outcome per recipient (RFC 5321 §5.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from mail_proto.smtp.client import ClientSession, Envelope, Verdict
from mail_proto.smtp.client_data import has_eight_bit_header, is_eight_bit, stuffed
from mail_runtime.contracts.store import Claim, ClaimedDelivery, Outcome
from smtp_out.connection import Connection, NotConnected, TlsFailed
from smtp_out.routes import NoRoute, Routes

log = structlog.get_logger()

# What each server has to take in one transaction (RFC 5321 §4.5.3.1.8).
RECIPIENTS_LIMIT: Final = 100
# Addresses tried in one attempt, all hosts together.
ADDRESSES_LIMIT: Final = 10


@dataclass(frozen=True, slots=True)
class Spoken:
    """Verdicts of one host; `elsewhere`: another host may do better."""

    remote: str
    verdicts: tuple[Verdict, ...]
    elsewhere: bool


class Sender:
    """Sends attempts; any number at the same time."""

    def __init__(self, routes: Routes, hostname: str, port: int) -> None:
        self._routes, self._hostname, self._port = routes, hostname, port

    async def send(self, claim: Claim, domain: str, message: bytes) -> list[Outcome]:
        """One outcome for each delivery of the claim."""
        outcomes: list[Outcome] = []
        octets = stuffed(message)
        utf8 = claim.smtputf8 and has_eight_bit_header(message)
        for deliveries in _batches(claim.deliveries):
            envelope = Envelope(
                claim.reverse_path,
                tuple(delivery.recipient for delivery in deliveries),
                len(message),
                is_eight_bit(message),
                utf8,
            )
            spoken = await self._to_domain(domain, envelope, octets)
            outcomes += [
                Outcome(
                    delivery_id=delivery.id,
                    result=verdict.result,
                    reply=verdict.reply,
                    status=verdict.status,
                    remote=spoken.remote,
                )
                for delivery, verdict in zip(deliveries, spoken.verdicts, strict=True)
            ]
        return outcomes

    async def _to_domain(self, domain: str, envelope: Envelope, octets: bytes) -> Spoken:
        """The first host that decides; else what the last one that could be asked said."""
        try:
            hosts = await self._routes.hosts(domain)
        except NoRoute as fault:
            return _same("", envelope, fault)
        worst: Spoken | None = None
        tried = 0
        for host in hosts:
            try:
                addresses = await self._routes.addresses(host)
            except NoRoute as fault:
                # A host that may come back counts more than one that can't exist.
                if worst is None or (fault.result == "deferred" and worst.verdicts[0].result == "failed"):
                    worst = _same(host, envelope, fault)
                continue
            for address in addresses:
                if (tried := tried + 1) > ADDRESSES_LIMIT:
                    break
                spoken = await self._to_address(host, address, envelope, octets)
                if not spoken.elsewhere:
                    return spoken
                worst = spoken
        assert worst is not None, "routes has at least one host"
        return worst

    async def _to_address(self, host: str, address: str, envelope: Envelope, octets: bytes) -> Spoken:
        try:
            return await self._converse(host, address, envelope, octets, starttls=True)
        except TlsFailed as error:
            log.info("tls_failed", remote=host, error=str(error))
        except NotConnected as error:
            return _same(host, envelope, NoRoute("deferred", "4.4.1", f"{host} [{address}]: {error}"))
        try:
            return await self._converse(host, address, envelope, octets, starttls=False)
        except NotConnected as error:
            return _same(host, envelope, NoRoute("deferred", "4.4.1", f"{host} [{address}]: {error}"))

    async def _converse(self, host: str, address: str, envelope: Envelope, octets: bytes, *, starttls: bool) -> Spoken:
        session = ClientSession(self._hostname, envelope, starttls=starttls)
        async with await Connection.open(address, self._port) as connection:
            await connection.transmit(session, octets)
        return Spoken(host, session.verdicts, session.try_elsewhere)


def _batches(deliveries: Sequence[ClaimedDelivery]) -> Iterator[Sequence[ClaimedDelivery]]:
    for start in range(0, len(deliveries), RECIPIENTS_LIMIT):
        yield deliveries[start : start + RECIPIENTS_LIMIT]


def _same(remote: str, envelope: Envelope, fault: NoRoute) -> Spoken:
    """The same verdict for all recipients."""
    verdict = Verdict(fault.result, fault.text, fault.status)
    return Spoken(remote, (verdict,) * len(envelope.recipients), elsewhere=True)
