"""One transmission on its way to a plan: what its routes come to, by the rules of who may relay and what loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from mail_proto.addresses import AddressFault, parse_mailbox
from mail_proto.dsn import FailedRecipient
from mail_runtime.contracts.errors import OverQuota, Refused
from mail_runtime.contracts.store import Transmission
from store_api.blobs import Octets
from store_api.db.ids import uuid7
from store_api.directory.expansion import Forwarder, Local, Reason, Remote, Sender
from store_api.directory.resolve import REASONS, Route
from store_api.ingest.forwarding import delivered_to
from store_api.ingest.incoming import Scanned
from store_api.mailboxes.quota import Room

Path = tuple[Forwarder, ...]


@dataclass(frozen=True, slots=True)
class Arrived:
    """A transmission and its message. `is_own`: a bounce of this system, which may go anywhere."""

    transmission: Transmission
    octets: Octets
    scanned: Scanned | None = None
    blob_id: UUID = field(default_factory=uuid7)
    is_own: bool = False


@dataclass(slots=True)
class Draft:
    """`targets` by account and mailbox; `leaving` addresses elsewhere by the forwarders that they were reached through.

    Addresses that the transmission itself names elsewhere have no forwarders.
    """

    arrived: Arrived
    sender: Sender
    targets: dict[tuple[UUID, UUID], Local] = field(default_factory=dict)
    leaving: dict[Path, dict[str, None]] = field(default_factory=dict)
    failures: list[FailedRecipient] = field(default_factory=list)

    def fail(self, address: str, reason: Reason) -> None:
        """This end gets nothing; others do."""
        status, words = REASONS[reason]
        self.failures.append(FailedRecipient(address, status, words, ""))

    def take(self, route: Route) -> None:
        """Add where one recipient leads. Raises Refused: it takes no mail, or not from here."""
        if route.failure is not None:
            raise refused(route.address, route.failure.reason)
        looping = self._looping(route.remotes)
        if looping and not any(_passes(leaf.path, looping) for leaf in (*route.locals, *route.remotes)):
            raise refused(route.address, "loop")
        for forwarder in looping:
            self.fail(forwarder.address, "loop")
        for failure in route.failures:
            self.fail(failure.address, failure.reason)
        for local in route.locals:
            if _passes(local.path, looping):
                self._deliver(local)
        for remote in route.remotes:
            if _passes(remote.path, looping):
                self._leave(remote)

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
        for local in full:
            self.fail(local.address, "over_quota")

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
