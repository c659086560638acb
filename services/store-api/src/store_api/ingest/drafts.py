"""One transmission on its way to a plan: what its routes come to, by the rules of who may relay and what loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from mail_proto.addresses import AddressFault, parse_mailbox
from mail_proto.dsn import Action, RecipientReport
from mail_runtime.contracts.errors import OverQuota, Refused
from mail_runtime.contracts.store import DsnRequest, Transmission
from store_api.blobs import Octets
from store_api.db.ids import uuid7
from store_api.directory.expansion import Forwarder, Local, Reason, Remote, Sender
from store_api.directory.resolve import REASONS, Route
from store_api.ingest.forwarding import delivered_to
from store_api.ingest.incoming import Scanned
from store_api.mailboxes.quota import Room

Path = tuple[Forwarder, ...]

_NOTHING_ASKED: Final = DsnRequest()


@dataclass(frozen=True, slots=True)
class Arrived:
    """A transmission and its message. `is_own`: a bounce of this system, which may go anywhere.

    `traceparent`: the trace that it belongs to (`mail_runtime.tracing`), or empty.
    """

    transmission: Transmission
    octets: Octets
    scanned: Scanned | None = None
    blob_id: UUID = field(default_factory=uuid7)
    is_own: bool = False
    traceparent: str = ""


@dataclass(slots=True)
class Draft:
    """`targets` by account and mailbox; `leaving` addresses elsewhere by the forwarders that they were reached through.

    Addresses that the transmission itself names elsewhere have no forwarders.
    """

    arrived: Arrived
    sender: Sender
    targets: dict[tuple[UUID, UUID], Local] = field(default_factory=dict)
    leaving: dict[Path, dict[str, None]] = field(default_factory=dict)
    reports: list[tuple[RecipientReport, DsnRequest]] = field(default_factory=list)

    def fail(self, address: str, reason: Reason, recipient: str) -> None:
        """This end, to which `recipient` leads, gets nothing; others do."""
        status, words = REASONS[reason]
        self._report("failed", address, status, words, recipient)

    def _report(self, action: Action, address: str, status: str, words: str, recipient: str) -> None:
        """Note what the sender may want to hear (RFC 3461 §4.1), with what it asked about the recipient."""
        request = self.arrived.transmission.dsn.get(recipient, _NOTHING_ASKED)
        self.reports.append((RecipientReport(address, status, words, "", action, request.orcpt), request))

    def take(self, route: Route) -> None:
        """Add where one recipient leads. Raises Refused: it takes no mail, or not from here."""
        if route.failure is not None:
            raise refused(route.address, route.failure.reason)
        looping = self._looping(route.remotes)
        if looping and not any(_passes(leaf.path, looping) for leaf in (*route.locals, *route.remotes)):
            raise refused(route.address, "loop")
        for forwarder in looping:
            self.fail(forwarder.address, "loop", route.address)
        for failure in route.failures:
            self.fail(failure.address, failure.reason, route.address)
        for local in route.locals:
            if _passes(local.path, looping):
                self._deliver(local)
        for remote in route.remotes:
            if _passes(remote.path, looping):
                self._leave(remote)
        if route.address in self.arrived.transmission.dsn:
            self._succeeded(route)

    def _succeeded(self, route: Route) -> None:
        """A mailbox here is delivery, leaving through a forwarder is relaying (RFC 3461 §5.2.3, §5.2.7.3 a)."""
        if route.locals:
            self._report("delivered", route.address, "2.1.5", "delivered to a mailbox", route.address)
        elif any(remote.path for remote in route.remotes):
            self._report("relayed", route.address, "2.1.5", "forwarded", route.address)

    def _looping(self, remotes: Sequence[Remote]) -> set[Forwarder]:
        """Forwarders that the message has passed before; of each way the first."""
        if not any(remote.path for remote in remotes):
            return set()
        header = self.arrived.octets[: max(self.arrived.octets.find(b"\r\n\r\n"), 0) + 2]
        passed = delivered_to(header)
        firsts = (next((f for f in remote.path if f.address in passed), None) for remote in remotes)
        return {first for first in firsts if first is not None}

    def _deliver(self, local: Local) -> None:
        key = (local.account_id, local.mailbox_id)
        known = self.targets.get(key)
        if known is None or known.is_shared:
            self.targets[key] = local

    def _leave(self, remote: Remote) -> None:
        if not remote.path and not remote.is_return and not self.arrived.is_own:
            if self.sender.submitter is None:
                raise Refused(f"5.7.1 {remote.address}: relaying is not allowed")
            try:
                parse_mailbox(remote.address)
            except AddressFault as fault:
                raise Refused(f"5.1.3 {remote.address!r} is not an address: {fault}") from fault
        self.leaving.setdefault(remote.path, {})[remote.address] = None

    def fit(self, rooms: Mapping[UUID, Room]) -> None:
        """Use up room for the message; who has none left and got it with others fails alone. Raises OverQuota."""
        size = len(self.arrived.octets)
        taken: list[Room] = []
        full: list[Local] = []
        for key, local in list(self.targets.items()):
            room = rooms.get(local.account_id)
            if room is not None and not room.takes(size):
                full.append(local)
                del self.targets[key]
            elif room is not None:
                taken.append(room)
        alone = next((local for local in full if not local.is_shared), None)
        if alone is None and full and not self.targets and not self.leaving:
            alone = full[0]  # nobody would get it
        if alone is not None:
            for room in taken:
                room.takes(-size, -1)
            raise refused(alone.address, "over_quota")
        missed = {local.address for local in full}
        self.reports = [told for told in self.reports if told[0].action != "delivered" or told[0].address not in missed]
        for local in full:
            self.fail(local.address, "over_quota", local.address)

    def domain_of(self, path: Path) -> UUID | None:
        """Whose mail it is that leaves this way."""
        if path:
            return path[-1].domain_id
        return self.sender.submitter.domain_id if self.sender.submitter else None


def _passes(path: Path, looping: set[Forwarder]) -> bool:
    return looping.isdisjoint(path)


def refused(address: str, reason: Reason) -> Refused | OverQuota:
    """What the sender is told of a recipient; an enhanced status code comes first."""
    status, words = REASONS[reason]
    if reason == "over_quota":
        return OverQuota(f"4.2.2 {address}: {words}")
    return Refused(f"{status} {address}: {words}")
