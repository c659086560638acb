"""From a recipient address to the mailboxes and the other servers that it leads to, in rounds.

Each round asks the directory for all addresses that are still open, of all recipients of a batch, in one statement.
An alias, list, catch-all or forwarding account opens its targets for the next round; whatever was opened before for
the same recipient isn't opened again, so that cycles end. What is left after MAX_DEPTH rounds counts as a loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final, Literal
from uuid import UUID

from mail_proto.srs import Srs, SrsFault, is_srs
from store_api.directory.lookup import Entry, FoundAccount, FoundAlias, split

# Postfix: virtual_alias_recursion_limit is 1000, but nobody nests lists deeper than a few levels.
MAX_DEPTH: Final = 10
# Addresses that one recipient may lead to; larger lists belong to a list manager.
MAX_TARGETS: Final = 10_000

Reason = Literal["unknown", "over_quota", "disabled", "not_permitted", "loop", "too_many"]


@dataclass(frozen=True, slots=True)
class Forwarder:
    """An account or alias on the way to a target; mail that leaves goes out in the name of its domain."""

    address: str
    domain_id: UUID
    account_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Leaf:
    """Where a way ends. `path`: forwarders from the recipient on. `is_shared`: others get the message too.

    What happens at a leaf that isn't shared happens to the recipient as a whole.
    """

    address: str
    path: tuple[Forwarder, ...]
    is_shared: bool


@dataclass(frozen=True, slots=True)
class Local(Leaf):
    """A mailbox here. `has_quota`: there may be no room in it."""

    account_id: UUID
    mailbox_id: UUID
    has_quota: bool


@dataclass(frozen=True, slots=True)
class Remote(Leaf):
    """Another server's. `is_return`: a bounce on its way back to the sender of a message that was forwarded."""

    is_return: bool = False


@dataclass(frozen=True, slots=True)
class Failure(Leaf):
    """An end that takes no mail."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Submitter:
    """The account that submits."""

    id: UUID
    address: str
    domain_id: UUID


@dataclass(frozen=True, slots=True)
class Sender:
    """Who writes: by which it is judged who may post. The null reverse path is empty."""

    reverse_path: str = ""
    submitter: Submitter | None = None


@dataclass(frozen=True, slots=True)
class _Step:
    address: str
    path: tuple[Forwarder, ...] = ()
    is_shared: bool = False
    is_return: bool = False


@dataclass(slots=True)
class Walk:
    """One recipient on its way through the rounds. `asks_sender`: a list on the way looked at who writes."""

    address: str
    sender: Sender
    open: list[_Step] = field(default_factory=list)
    ends: list[Leaf] = field(default_factory=list)
    opened: set[str] = field(default_factory=set)
    targets: int = 0
    asks_sender: bool = False

    def fail(self, step: _Step, reason: Reason) -> None:
        self.ends.append(Failure(step.address, step.path, step.is_shared, reason))


Find = Callable[[Collection[str]], Awaitable[Mapping[str, Entry]]]


class Expansion:
    """The rounds of one batch. `find` asks the directory; `known` is what it has answered so far."""

    def __init__(self, find: Find, srs: Srs, today: date) -> None:
        self._find, self._srs, self._today = find, srs, today
        self.known: dict[str, Entry] = {}

    async def run(self, recipients: Sequence[tuple[str, Sender]]) -> list[Walk]:
        """All that each recipient leads to, in order."""
        walks = [Walk(address, sender, [_Step(address)]) for address, sender in recipients]
        for _ in range(MAX_DEPTH + 1):
            active = [walk for walk in walks if walk.open]
            if not active:
                break
            await self.learn({step.address for walk in active for step in walk.open})
            await self.learn({walk.sender.reverse_path for walk in active if self._needs_sender(walk)} - {""})
            for walk in active:
                steps, walk.open = walk.open, []
                for step in steps:
                    self._take(walk, step)
                if walk.targets > MAX_TARGETS:
                    walk.open, walk.ends = [], []
                    walk.fail(_Step(walk.address), "too_many")
        for walk in walks:
            for step in walk.open:
                walk.fail(step, "loop")
            if not walk.ends:
                walk.fail(_Step(walk.address), "loop" if walk.targets else "unknown")
        return walks

    async def learn(self, addresses: set[str]) -> None:
        """Ask for those that aren't known yet."""
        unknown = addresses - self.known.keys()
        if unknown:
            self.known.update(await self._find(unknown))

    def _needs_sender(self, walk: Walk) -> bool:
        for step in walk.open:
            found = self.known[step.address].found
            if isinstance(found, FoundAlias) and found.who_may_post != "anyone":
                return True
        return False

    def _take(self, walk: Walk, step: _Step) -> None:
        entry = self.known[step.address]
        found = entry.found
        if entry.domain_id is None:
            walk.ends.append(Remote(step.address, step.path, step.is_shared, step.is_return))
        elif self._is_return_address(step, found):
            self._take_return(walk, step)
        elif found is None:
            walk.fail(step, "unknown")
        elif isinstance(found, FoundAlias):
            self._take_alias(walk, step, found)
        else:
            _take_account(walk, step, found)

    @staticmethod
    def _is_return_address(step: _Step, found: FoundAccount | FoundAlias | None) -> bool:
        """An SRS address that a recipient names itself, and nobody else has."""
        if step.path or step.is_return or not is_srs(step.address):
            return False
        return found is None or (isinstance(found, FoundAlias) and found.kind == "catch_all")

    def _take_return(self, walk: Walk, step: _Step) -> None:
        """Only bounces take this way: it would relay anybody's mail otherwise."""
        walk.asks_sender = True
        try:
            original = self._srs.reverse(step.address.rpartition("@")[0], self._today)
        except SrsFault:
            walk.fail(step, "unknown")
            return
        if walk.sender.reverse_path:
            walk.fail(step, "not_permitted")
            return
        walk.open.append(_Step(original, is_return=True))

    def _take_alias(self, walk: Walk, step: _Step, alias: FoundAlias) -> None:
        if alias.who_may_post != "anyone":
            walk.asks_sender = True
            if not self._may_post(walk.sender, alias):
                walk.fail(step, "not_permitted")
                return
        if alias.address in walk.opened:
            return
        walk.opened.add(alias.address)
        path = (*step.path, Forwarder(alias.address, alias.domain_id))
        _open(walk, step, path, alias.targets, is_shared=len(alias.targets) > 1)

    def _may_post(self, sender: Sender, alias: FoundAlias) -> bool:
        entry = self.known.get(sender.reverse_path)
        if alias.who_may_post == "domain":
            domains = {entry.domain_id if entry else None}
            if sender.submitter is not None:
                domains.add(sender.submitter.domain_id)
            return alias.domain_id in domains
        names = {sender.reverse_path.lower()} - {""}
        if entry is not None and entry.found is not None:
            names.add(entry.found.address)
        if sender.submitter is not None:
            names.add(sender.submitter.address)
        return not names.isdisjoint(target.lower() for target in alias.targets)


def _take_account(walk: Walk, step: _Step, account: FoundAccount) -> None:
    if not account.is_active:
        walk.fail(step, "disabled")
        return
    # Who forwards to himself keeps a copy, as in everybody's aliases file.
    targets = [target for target in account.forward_to if target.lower() != account.address]
    keeps_copy = not account.forward_to or account.keeps_copy or len(targets) < len(account.forward_to)
    path = (*step.path, Forwarder(account.address, account.domain_id, account.id)) if targets else step.path
    if keeps_copy:
        walk.ends.append(
            Local(account.address, path, step.is_shared, account.id, account.mailbox_id, account.has_quota)
        )
    if targets and account.address not in walk.opened:
        walk.opened.add(account.address)
        _open(walk, step, path, targets, is_shared=keeps_copy or len(targets) > 1)


def _open(walk: Walk, step: _Step, path: tuple[Forwarder, ...], targets: Sequence[str], *, is_shared: bool) -> None:
    walk.targets += len(targets)
    if walk.targets <= MAX_TARGETS:
        walk.open += [_Step(target, path, step.is_shared or is_shared, step.is_return) for target in targets]


def own_address(entry: Entry, submitter: Submitter) -> bool:
    """Whether an address is one that the account may send as: its own in any form, or an alias that leads to it."""
    found = entry.found
    if isinstance(found, FoundAccount):
        return found.id == submitter.id
    if not isinstance(found, FoundAlias) or found.kind != "alias":
        return False
    return any(_without_detail(target) == submitter.address for target in found.targets)


def _without_detail(address: str) -> str:
    _, base, _, domain = split(address)
    return f"{base}@{domain}"
