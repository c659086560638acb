"""What a batch of transmissions comes to: who gets each message, what leaves again, what bounces, what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_proto.dsn import RecipientReport
from mail_proto.srs import Srs
from mail_runtime.contracts.errors import Refused, StoreError
from store_api.directory.expansion import Sender, Submitter
from store_api.directory.resolve import Resolved, resolve, submitters
from store_api.ingest.asked import wants
from store_api.ingest.bounces import Original, bounce, bounce_id
from store_api.ingest.drafts import Arrived, Draft, Path
from store_api.ingest.envelopes import known_transmissions
from store_api.ingest.forwarding import forwarded, forwarded_id, forwarding_path
from store_api.ingest.incoming import Group, Incoming, Outbound, Target
from store_api.ingest.junk import send_to_junk
from store_api.ingest.tls_wishes import tls_wish
from store_api.mailboxes.quota import Room

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Rules:
    """What planning needs to know of this installation."""

    srs: Srs
    hostname: str
    lifetime_s: float
    delay_notice_s: float


Plan = Group | StoreError
Rooms = Mapping[UUID, Room]


async def plan(
    connection: AsyncConnection, rules: Rules, arrived: Sequence[Arrived], rooms: Rooms | None = None
) -> list[Plan]:
    """One plan for each transmission, in order: what to commit together, or why it is refused.

    One that is stored already comes to an empty group where it would be refused now, and else is left out when its
    rows are inserted (`commit.insert`): few are, and a look-up for each batch costs all. `rooms`: what accounts had
    left when the last plan failed; it is used up in order.
    """
    plans: list[Plan] = [()] * len(arrived)
    drafts: dict[int, Draft] = {}
    found = await submitters(connection, {by for a in arrived if (by := a.transmission.submitted_by) is not None})
    for place, a in enumerate(arrived):
        if (sender := _sender(a, found)) is None:
            plans[place] = Refused("5.7.1 this account may not send")
        else:
            drafts[place] = Draft(a, sender)
    bounced: dict[int, Sequence[Incoming]] = {}
    resolved = await _route(connection, rules, drafts, plans, rooms or {})
    reports = {place: wanted for place, draft in drafts.items() if (wanted := _wanted(draft))}
    if reports:
        bounced = await _bounces(connection, rules, drafts, reports, rooms or {})
    for place, draft in drafts.items():
        plans[place] = [*_group(rules, draft, resolved), *bounced.get(place, ())]
    await _forgive_repeated(connection, arrived, plans)
    return plans


async def _forgive_repeated(connection: AsyncConnection, arrived: Sequence[Arrived], plans: list[Plan]) -> None:
    """What was accepted once isn't refused when it comes again."""
    refused = [place for place, plan in enumerate(plans) if isinstance(plan, StoreError)]
    known = await known_transmissions(connection, {arrived[place].transmission.id for place in refused})
    for place in refused:
        if arrived[place].transmission.id in known:
            plans[place] = ()


def _sender(arrived: Arrived, found: Mapping[UUID, Submitter]) -> Sender | None:
    """None: who submits isn't there or isn't active."""
    submitted_by = arrived.transmission.submitted_by
    if submitted_by is None:
        return Sender(arrived.transmission.reverse_path)
    submitter = found.get(submitted_by)
    return None if submitter is None else Sender(arrived.transmission.reverse_path, submitter)


async def _route(
    connection: AsyncConnection, rules: Rules, drafts: dict[int, Draft], plans: list[Plan], rooms: Rooms
) -> Resolved:
    """Fill the drafts; those that are refused move to the plans."""
    questions = [(address, d.sender) for d in drafts.values() for address in d.arrived.transmission.recipients]
    resolved = await resolve(connection, rules.srs, questions)
    routes = iter(resolved.routes)
    for place, draft in list(drafts.items()):
        own_routes = [next(routes) for _ in draft.arrived.transmission.recipients]
        try:
            if draft.sender in resolved.foreign:
                raise Refused(f"5.7.1 {draft.sender.reverse_path!r} is not an address of this account")
            for route in own_routes:
                draft.take(route)
            draft.fit(rooms)
        except StoreError as error:
            plans[place] = error
            del drafts[place]
    await send_to_junk(connection, drafts.values())
    return resolved


def _wanted(draft: Draft) -> list[RecipientReport]:
    """What its sender is told; nobody is told at the null reverse path."""
    if not draft.sender.reverse_path:
        return []
    return [report for report, request in draft.reports if wants(report.action, request.notify)]


async def _bounces(
    connection: AsyncConnection,
    rules: Rules,
    originals: Mapping[int, Draft],
    reports: Mapping[int, list[RecipientReport]],
    rooms: Rooms,
) -> dict[int, Sequence[Incoming]]:
    """For each draft with reports what its notification comes to; nothing where the sender can't be reached."""
    drafts = {}
    for place, told in reports.items():
        arrived = originals[place].arrived
        sent = arrived.transmission
        original = Original(
            sent.reverse_path,
            arrived.octets,
            sent.ret,
            sent.envid,
            traceparent=arrived.traceparent,
            tls_wish=sent.tls_wish,
        )
        drafts[place] = Draft(bounce(rules.hostname, original, told, bounce_id(sent.id)), Sender())
    refused: list[Plan] = [()] * (max(drafts) + 1)
    resolved = await _route(connection, rules, drafts, refused, rooms)
    for place in reports.keys() - drafts.keys():
        transmission = originals[place].arrived.transmission
        log.warning("bounce_dropped", transmission_id=str(transmission.id), reason=str(refused[place]))
    return {place: _group(rules, draft, resolved) for place, draft in drafts.items()}


def _group(rules: Rules, draft: Draft, resolved: Resolved) -> list[Incoming]:
    """The message itself, and a copy for each chain of forwarders that sends it on."""
    arrived = draft.arrived
    own = Incoming(
        arrived.octets,
        tuple(Target(account_id, mailbox_id) for account_id, mailbox_id in draft.targets),
        _outbound(rules, draft, (), arrived.transmission.id, arrived.transmission.reverse_path),
        arrived.blob_id,
        scanned=arrived.scanned,
    )
    copies = [_copy(rules, draft, resolved, path) for path in draft.leaving if path]
    return [own, *copies]


def _copy(rules: Rules, draft: Draft, resolved: Resolved, path: Path) -> Incoming:
    transmission = draft.arrived.transmission
    reverse_path = forwarding_path(
        rules.srs, transmission.reverse_path, is_ours=transmission.reverse_path in resolved.ours, path=path
    )
    outbound = _outbound(rules, draft, path, forwarded_id(transmission.id, path), reverse_path)
    return Incoming(forwarded(bytes(draft.arrived.octets), path), (), outbound)


def _outbound(rules: Rules, draft: Draft, path: Path, identifier: UUID, reverse_path: str) -> Outbound:
    submitter = draft.sender.submitter
    recipients = tuple(draft.leaving.get(path, ()))
    smtputf8 = draft.arrived.transmission.smtputf8 or not all(address.isascii() for address in recipients)
    account_id = path[-1].account_id if path else submitter.id if submitter else None
    sent = draft.arrived.transmission
    # Who forwards sends anew: requests end here (RFC 3461 §5.2.7.4).
    return Outbound(
        identifier,
        account_id,
        reverse_path,
        recipients,
        smtputf8,
        rules.lifetime_s,
        rules.delay_notice_s,
        draft.domain_of(path),
        ret="" if path else sent.ret,
        envid="" if path else sent.envid,
        dsn={} if path else sent.dsn,
        traceparent=draft.arrived.traceparent,
        tls_wish=tls_wish(sent.tls_wish, draft.arrived.octets) if recipients else "",
        is_forwarded=bool(path) and submitter is None,
    )
