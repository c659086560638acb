"""One attempt to send a transmission to a domain: its hosts in turn, an outcome per recipient (RFC 5321 §5.1)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from mail_proto.smtp.client_actions import Envelope, Verdict
from mail_runtime.contracts.store import Claim, ClaimedDelivery, Outcome, TlsWish
from smtp_out.connection import Connection, NotConnected, Target
from smtp_out.destinations import Visit
from smtp_out.letter import Letter
from smtp_out.pace import is_complaint
from smtp_out.plans import Plan, Planner, in_clear
from smtp_out.routes import NoRoute
from smtp_out.tls import OPPORTUNISTIC, TlsFailed
from smtp_out.tls_policies import TlsPolicies
from smtp_out.tls_reports import POLICY_TYPES, Session, TlsReports

log = structlog.get_logger()

# What each server has to take in one transaction (RFC 5321 §4.5.3.1.8).
RECIPIENTS_LIMIT: Final = 100
NO_REQUIRETLS: Final = Verdict("failed", "the remote server doesn't offer REQUIRETLS, which was required", "5.7.30")
# Addresses tried in one attempt, all hosts together.
ADDRESSES_LIMIT: Final = 10


@dataclass(frozen=True, slots=True)
class Spoken:
    """Verdicts of one host, or of ourselves about it."""

    remote: str
    verdicts: tuple[Verdict, ...]
    connection: Connection | None = None


@dataclass(slots=True)
class Tries:
    """What the hosts that didn't take the message said: one that may do so later counts more than others."""

    envelope: Envelope
    tls_wish: TlsWish = ""
    best: Spoken | None = None
    # A server answered, whatever it said.
    reached: bool = False

    def note(self, spoken: Spoken) -> None:
        later = any(verdict.result == "deferred" for verdict in spoken.verdicts)
        if self.best is None or later or self.best.verdicts[0].result == "failed":
            self.best = spoken

    def fault(self, remote: str, verdict: Verdict) -> None:
        """The same for all recipients."""
        self.note(Spoken(remote, (verdict,) * len(self.envelope.recipients)))


class Sender:
    """Sends attempts; any number at the same time."""

    def __init__(self, planner: Planner, policies: TlsPolicies, reports: TlsReports) -> None:
        self._planner, self._policies, self._reports = planner, policies, reports

    async def send(self, claim: Claim, plan: Plan, visit: Visit, message: bytes) -> AsyncIterator[list[Outcome]]:
        """One outcome for each delivery of the claim, as soon as a transaction has ended with them."""
        letter = Letter(claim, message)
        for deliveries in _batches(claim.deliveries):
            envelope = letter.envelope(deliveries)
            yield _outcomes(deliveries, await self._spoken(plan, visit, letter, envelope))

    async def _spoken(self, plan: Plan, visit: Visit, letter: Letter, envelope: Envelope) -> Spoken:
        """Over the connection that there is, else over a new one to the first host that decides."""
        tries = Tries(envelope, letter.tls_wish)
        if visit.connection is not None:
            if (
                visit.connection.usable
                and not visit.full()
                and await self._fits(plan, visit.connection, tries.tls_wish)
            ):
                spoken = await self._over(visit, visit.connection, letter, tries)
                if spoken is not None:
                    return spoken
            await visit.connection.close()
            visit.connection = None
        async for connection in self._connections(plan, visit, tries):
            spoken = await self._over(visit, connection, letter, tries)
            if spoken is not None:
                return spoken
            await connection.close()
            visit.connection = None
        assert tries.best is not None, "there is at least one host"
        if not tries.reached and tries.best.verdicts[0].status == "4.4.1":
            visit.unreachable = tries.best.verdicts[0].reply
        return tries.best

    async def _fits(self, plan: Plan, connection: Connection, tls_wish: TlsWish) -> bool:
        """It was made for another message, maybe to another domain: its host and its TLS must do for this one."""
        target = connection.target
        if target.host not in plan.hosts.names:
            return False
        try:
            addresses = await self._planner.addresses(target.host)
            wanted = await self._policies.demand(plan, target.host, target.port, addresses, tls_wish)
        except NoRoute:
            return False
        return wanted.fulfilled_by(target.demand)

    async def _over(self, visit: Visit, connection: Connection, letter: Letter, tries: Tries) -> Spoken | None:
        """One transaction. None: another host may still take it."""
        remote, demand = connection.target.host, connection.target.demand
        if demand.required and "REQUIRETLS" not in connection.offered:
            tries.fault(remote, NO_REQUIRETLS)
            return None
        fitted = letter.fitted(tries.envelope, connection.offered, is_authenticated=demand.authenticates)
        if isinstance(fitted, Verdict):
            return Spoken(remote, (fitted,) * len(tries.envelope.recipients), connection)
        verdicts = await connection.transmit(fitted.envelope, fitted.octets)
        visit.complained = visit.complained or any(map(is_complaint, verdicts))
        if connection.try_elsewhere:
            tries.note(Spoken(remote, verdicts, connection))
            return None
        return Spoken(remote, verdicts, connection)

    async def _connections(self, plan: Plan, visit: Visit, tries: Tries) -> AsyncIterator[Connection]:
        """Each in `visit.connection` while it is used; what can't be connected is noted in `tries`."""
        async for target in self._targets(plan, tries):
            try:
                connection = await self._connected(plan, target)
            except NotConnected as error:
                tries.fault(target.host, Verdict("deferred", f"{target}: {error}", "4.4.1"))
                continue
            except TlsFailed as error:
                tries.reached = True
                tries.fault(target.host, _without_tls(target, Verdict("deferred", f"{target}: {error}", "4.7.5")))
                continue
            tries.reached = True
            visit.connection = connection
            if connection.refusal is not None:
                visit.complained = visit.complained or is_complaint(connection.refusal)
                tries.fault(target.host, _without_tls(target, connection.refusal))
                await connection.close()
                visit.connection = None
                continue
            yield connection

    async def _connected(self, plan: Plan, target: Target) -> Connection:
        """Raises NotConnected, TlsFailed."""
        try:
            connection = await Connection.open(target)
        except TlsFailed as error:
            self._count(plan, target, error.kind)
            log.info("tls_failed", remote=str(target), error=str(error))
            if not target.demand.optional or target.implicit_tls:
                raise
            if target.demand.testing:
                return await self._connected(plan, replace(target, demand=OPPORTUNISTIC))
            # Better in clear than not at all: an attacker could have hidden STARTTLS as well (RFC 7435).
            return await Connection.open(in_clear(target))
        if connection.tls is not None or connection.refusal is None or connection.refusal.status == "4.7.0":
            self._count(plan, target, _result(connection))
        return connection

    def _count(self, plan: Plan, target: Target, result: str) -> None:
        policy = POLICY_TYPES.get(target.demand.source, "no-policy-found")
        if not plan.route.host and target.demand.level != "never":
            self._reports.note(Session(plan.domain, policy, target.host, target.address, result))

    async def _targets(self, plan: Plan, tries: Tries) -> AsyncIterator[Target]:
        left = ADDRESSES_LIMIT
        for host in plan.hosts.names:
            try:
                addresses = await self._planner.addresses(host)
                port = self._planner.port(plan.route)
                demand = await self._policies.demand(plan, host, port, addresses, tries.tls_wish)
            except NoRoute as fault:
                tries.fault(host, Verdict(fault.result, fault.text, fault.status))
                continue
            for address in addresses.texts[:left]:
                left -= 1
                target = self._planner.target(plan, host, address, demand)
                if target is None:
                    tries.fault(host, Verdict("deferred", f"{address}: we have no address of its family", "4.4.4"))
                    continue
                yield target


def _without_tls(target: Target, verdict: Verdict) -> Verdict:
    """Where TLS is required the sender hears at once that there is none that will do (RFC 8689 §4.2.1)."""
    if target.demand.required and verdict.status in {"4.7.0", "4.7.5"} and not verdict.reply[:1].isdigit():
        return Verdict("failed", verdict.reply, "5.7.10")
    return verdict


def _result(connection: Connection) -> str:
    """A result-type of RFC 8460 §4.3, or `success`."""
    if connection.tls is None:
        return "starttls-not-supported"
    return "validation-failure" if connection.target.demand.excluded else "success"


def about_all(deliveries: Sequence[ClaimedDelivery], verdict: Verdict, remote: str = "") -> list[Outcome]:
    """The same outcome for each delivery."""
    return _outcomes(deliveries, Spoken(remote, (verdict,) * len(deliveries)))


def _outcomes(deliveries: Sequence[ClaimedDelivery], spoken: Spoken) -> list[Outcome]:
    connection = spoken.connection
    return [
        Outcome(
            delivery_id=delivery.id,
            result=verdict.result,
            reply=verdict.reply,
            status=verdict.status,
            remote=spoken.remote,
            address=connection.target.address if connection else "",
            tls=str((connection and connection.tls) or ""),
            dsn_passed_on=delivery.notify is not None and connection is not None and "DSN" in connection.offered,
        )
        for delivery, verdict in zip(deliveries, spoken.verdicts, strict=True)
    ]


def _batches(deliveries: Sequence[ClaimedDelivery]) -> Iterator[Sequence[ClaimedDelivery]]:
    for start in range(0, len(deliveries), RECIPIENTS_LIMIT):
        yield deliveries[start : start + RECIPIENTS_LIMIT]
