"""FETCH (RFC 9051 §6.4.5): in batches, so that memory stays bounded however much is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from imap.commands.vanished import vanished
from imap.session import Done, Selected, Session
from mail_proto.imap import render
from mail_proto.imap.commands import Fetch
from mail_proto.imap.dates import render_date_time
from mail_proto.imap.errors import Refused
from mail_proto.imap.fetch_items import Attribute, Binary, FetchItem, Section
from mail_proto.imap.fetch_plan import FetchPlan, plan
from mail_proto.imap.mailbox_columns import Message
from mail_proto.imap.object_ids import email_id, thread_id
from mail_proto.message.binary import UnknownEncoding, binary_section
from mail_proto.message.sections import header_fields, section
from mail_proto.message.summary import summarize
from mail_runtime.contracts.errors import NotFound
from mail_runtime.contracts.store import StoreFlags, Summary
from mail_runtime.contracts.store.columns import Objects
from mail_runtime.contracts.store.uids import compact

BATCH_MESSAGES: Final = 500
# Of messages that nothing is asked of but what the view knows.
BATCH_COLUMNS: Final = 5_000
# Bodies of one batch together; a larger message is a batch of its own.
BATCH_OCTETS: Final = 4 * 1024 * 1024
# Of the responses to one batch, so much is sent together.
PIECE_OCTETS: Final = 256 * 1024
_DONE: Final = Done("fetched")


class _Material(NamedTuple):
    """What is known of one message beyond the view, as far as it was asked for."""

    summary: Summary | None = None
    body: bytes | None = None
    objects: Objects | None = None


@dataclass(frozen=True, slots=True)
class _Batch:
    """Messages that are there, with what was asked for of them: by blob, and by uid."""

    messages: Sequence[Message]
    summaries: Mapping[int, Summary]
    bodies: Mapping[int, bytes]
    objects: Mapping[int, Objects]


async def fetch(session: Session, command: Fetch) -> Done:
    """A message that was expunged meanwhile is left out, and that is told (RFC 5530 §3): NO would alarm users."""
    selected = session.selected
    assert selected is not None, "checked by states.check_allowed"
    uids = selected.view.select(command.messages, by_uid=command.by_uid)
    if command.partial is not None:
        uids = list(command.partial.of(uids))
    if command.changed_since is not None:
        if command.vanished:
            await session.send(await vanished(session, selected, command.changed_since, command.messages))
        modseq_of, since = selected.view.columns.modseq_of, command.changed_since
        uids = [uid for uid in uids if modseq_of(uid) > since]
    if command.plan.columns:
        uids = await _send_columns(session, selected, uids, command.plan.columns)
    if uids:
        work = _Fetching(session, selected, command.plan)
        await _send(session, work, [selected.view.message(uid) for uid in uids])
        if work.missed:
            return Done("fetched; some of the messages are gone", "EXPUNGEISSUED")
    return _DONE


async def _send_columns(
    session: Session, selected: Selected, uids: Sequence[int], names: tuple[str, ...]
) -> Sequence[int]:
    """What the view knows, of many at once. While the client reads something may be expunged: returns who is left."""
    view, rendered = selected.view, session.shared.rendered
    while uids and not view.has_gone():
        some, uids = uids[:BATCH_COLUMNS], uids[BATCH_COLUMNS:]
        places = view.places(some)
        # \Recent is this session's alone.
        key = (view.columns.version, names, places) if isinstance(places, range) and not view.recent else None
        octets = None if key is None else rendered.get(key)
        if octets is None:
            octets = view.fetched(places, names)
            if key is not None:
                rendered.put(key, octets, len(octets))
        await session.send(octets)
    return uids


async def fetch_arrived(
    session: Session, selected: Selected, uids: Sequence[int], items: tuple[FetchItem, ...]
) -> None:
    """FETCH of new messages that nobody asked for by number (RFC 5465 §5.2); what is gone already is left out."""
    work = _Fetching(session, selected, plan(items))
    messages = [selected.view.message(uid) for uid in uids if selected.view.knows(uid)]
    await _send(session, work, messages)


async def _send(session: Session, work: _Fetching, messages: Sequence[Message]) -> None:
    """All responses. What the next batch needs is read while the client takes this one."""
    batches = _batches(messages, with_bodies=work.needs_bodies)
    batch = next(batches, None)
    ahead: asyncio.Task[_Batch] | None = None
    try:
        while batch is not None:
            read = await (work.read(batch) if ahead is None else ahead)
            batch, ahead = next(batches, None), None
            # No more than two batches are in memory: a message that is larger than one waits for its turn.
            if batch is not None and len(batch) > 1:
                ahead = asyncio.create_task(work.read(batch), name="fetch-ahead")
            for pieces in await work.responses(read):
                await session.send(*pieces)
    finally:
        if ahead is not None:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)


def _batches(messages: Sequence[Message], *, with_bodies: bool) -> Iterator[list[Message]]:
    batch: list[Message] = []
    octets = 0
    for message in messages:
        cost = message.octets if with_bodies else 0
        if batch and (len(batch) >= BATCH_MESSAGES or octets + cost > BATCH_OCTETS):
            yield batch
            batch, octets = [], 0
        batch.append(message)
        octets += cost
    if batch:
        yield batch


class _Fetching:
    """One FETCH: what it needs, and its responses."""

    def __init__(self, session: Session, selected: Selected, plan: FetchPlan) -> None:
        self._session, self._selected, self._plan = session, selected, plan
        self._sets_seen = plan.sets_seen and not selected.examined and "s" in selected.rights
        self._newly_seen: set[int] = set()
        self.missed = False

    @property
    def needs_bodies(self) -> bool:
        return self._plan.bodies

    async def read(self, batch: Sequence[Message]) -> _Batch:
        """What is needed of these messages; those that are gone are left out. Raises Unavailable."""
        account_id, contents, plan = self._session.account_id, self._session.shared.contents, self._plan
        summaries: dict[int, Summary] = {}
        bodies: dict[int, bytes] = {}
        if plan.summaries:
            summaries = await contents.summaries(account_id, [message.blob for message in batch])
            batch = self._present(batch, summaries.keys())
        objects: dict[int, Objects] = {}
        if plan.objects:
            uids, mailbox_id = [message.uid for message in batch], self._selected.mailbox.id
            objects = await self._selected.shared.objects.of(self._session.store, account_id, mailbox_id, uids)
            gone_uids = set(uids) - objects.keys()
            batch = self._present(batch, {m.blob for m in batch if m.uid not in gone_uids})
        wanted = [m.blob for m in batch if plan.bodies or self._lacks(summaries.get(m.blob))]
        if wanted:
            bodies = await self._bodies(wanted)
            if gone := {blob for blob in wanted if blob not in bodies}:
                batch = self._present(batch, {m.blob for m in batch} - gone)
        return _Batch(batch, summaries, bodies, objects)

    async def responses(self, batch: _Batch) -> Iterator[list[bytes]]:
        """In pieces, so many at a time as are sent together. Raises NotPermitted, Unavailable: \\Seen can't be set."""
        messages = await self._set_seen(batch.messages) if self._sets_seen else batch.messages
        return self._pieces(messages, batch)

    def _pieces(self, messages: Sequence[Message], batch: _Batch) -> Iterator[list[bytes]]:
        summaries, bodies, objects = batch.summaries, batch.bodies, batch.objects
        pieces: list[bytes] = []
        octets = 0
        for message in messages:
            body = bodies.get(message.blob)
            found = _Material(summaries.get(message.blob), body, objects.get(message.uid))
            pieces += self._response(message, found)
            octets += len(body or b"")
            if octets >= PIECE_OCTETS:
                yield pieces
                pieces, octets = [], 0
        yield pieces

    def _lacks(self, summary: Summary | None) -> bool:
        """Whether something is asked for that isn't in the summary: it keeps only so much of a header, and those of
        earlier versions have no preview."""
        if summary is None:
            return False
        is_capped = self._plan.headers and len(summary.header) < summary.root.body_start
        return is_capped or (self._plan.previews and summary.preview is None)

    def _present(self, batch: Sequence[Message], blobs: Collection[int]) -> list[Message]:
        present = [message for message in batch if message.blob in blobs]
        self.missed = self.missed or len(present) < len(batch)
        return present

    async def _bodies(self, blobs: Sequence[int]) -> dict[int, bytes]:
        """The octets of those that are still there."""
        account_id, contents = self._session.account_id, self._session.shared.contents
        try:
            return await contents.bodies(account_id, blobs)
        except NotFound:
            found: dict[int, bytes] = {}
            for blob in blobs:
                try:
                    found[blob] = await contents.body(account_id, blob)
                except NotFound:
                    continue
            return found

    async def _set_seen(self, batch: Sequence[Message]) -> list[Message]:
        """The messages as they are once \\Seen is set where it was missing; one request for all."""
        unseen = [message.uid for message in batch if not message.has("\\seen")]
        if not unseen:
            return list(batch)
        change = StoreFlags(uids=compact(unseen), operation="add", flags=["\\Seen"])
        view = self._selected.view
        await self._session.store_flags(change)
        view.hush(unseen)  # their flags are told right here
        self._newly_seen.update(unseen)
        return [view.message(message.uid) for message in batch]

    def _response(self, message: Message, material: _Material) -> list[bytes]:
        """In pieces: a body isn't copied."""
        pieces = [b"* %d FETCH (" % self._selected.view.number(message.uid)]
        for item in self._plan.items:
            pieces += self._item(item, message, material)
            pieces.append(b" ")
        if message.uid in self._newly_seen:
            pieces += [part for news in self._news_of(message) for part in (news, b" ")]
        pieces[-1] = b")\r\n"
        return pieces

    def _news_of(self, message: Message) -> list[bytes]:
        """What \\Seen changed, and wasn't asked for (RFC 9051 §6.4.5, RFC 7162 §3.2.4)."""
        wanted = ["FLAGS"]
        if self._session.enabled.condstore:
            wanted += ["UID", "MODSEQ"]
        return [self._attribute(name, message, _Material()) for name in wanted if name not in self._plan.names]

    def _item(self, item: FetchItem, message: Message, material: _Material) -> Sequence[bytes]:
        if isinstance(item, Attribute):
            return (self._attribute(item.name, message, material),)
        if isinstance(item, Section):
            return _section(item, material.summary, material.body)
        assert material.summary is not None, "asked for by FetchPlan.summaries"
        assert material.body is not None, "asked for by FetchPlan.bodies"
        return (_binary(item, material.summary, material.body),)

    def _attribute(self, name: str, message: Message, material: _Material) -> bytes:
        match name:
            case "UID":
                return b"UID %d" % message.uid
            case "FLAGS":
                rendered = render.flags(message.flags)
                is_recent = self._selected.view.is_recent(message.uid)
                return b"FLAGS " + (render.with_recent(rendered) if is_recent else rendered)
            case "MODSEQ":
                return b"MODSEQ (%d)" % message.modseq
            case "RFC822.SIZE":
                return b"RFC822.SIZE %d" % message.octets
            case "INTERNALDATE":
                return b"INTERNALDATE " + render_date_time(message.internal_date)
            case "EMAILID" | "THREADID" | "SAVEDATE":
                assert material.objects is not None, "asked for by FetchPlan.objects"
                return _object(name, material.objects)
        assert material.summary is not None, "asked for by FetchPlan.summaries"
        return self._summarised(name, material.summary, material.body)

    def _summarised(self, name: str, summary: Summary, body: bytes | None) -> bytes:
        match name:
            case "ENVELOPE":
                return b"ENVELOPE " + summary.envelope
            case "BODY":
                return b"BODY " + summary.body
            case "PREVIEW":
                text = summary.preview
                if text is None:
                    assert body is not None, "asked for in _lacks"
                    text = summarize(body).preview
                return b"PREVIEW " + render.nstring_text(text, is_utf8=self._session.enabled.utf8)
            case _:
                return b"BODYSTRUCTURE " + summary.bodystructure


def _object(name: str, objects: Objects) -> bytes:
    match name:
        case "EMAILID":
            return b"EMAILID (" + email_id(objects.email_id) + b")"
        case "THREADID":
            known = objects.thread_id
            return b"THREADID NIL" if known is None else b"THREADID (" + thread_id(known) + b")"
        case _:
            return b"SAVEDATE " + render_date_time(objects.saved_date)


def _binary(item: Binary, summary: Summary, body: bytes) -> bytes:
    """Raises Refused: nobody here knows the part's encoding (RFC 3516 §4.3)."""
    try:
        octets = binary_section(body, summary.root, item.path)
    except UnknownEncoding as error:
        raise Refused("the part's encoding isn't known", "UNKNOWN-CTE") from error
    if item.is_size:
        return item.label + b" %d" % len(octets or b"")
    if octets is None:
        return item.label + b" NIL"
    label = item.label
    if item.partial is not None:
        first, count = item.partial
        label += b"<%d>" % first
        octets = octets[first : first + count]
    # A literal8 only where it must be one: the client needn't look for NUL then (RFC 3516 §4.3).
    return label + (b" ~" if b"\0" in octets else b" ") + render.literal(octets)


def _section(item: Section, summary: Summary | None, body: bytes | None) -> Sequence[bytes]:
    octets = body if not item.path and item.text is None else _part(item, summary, body)
    label = item.label
    if item.partial is not None:
        first, count = item.partial
        label += b"<%d>" % first
        octets = None if octets is None else octets[first : first + count]
    return (label + b" NIL",) if octets is None else (label + b" {%d}\r\n" % len(octets), octets)


def _part(item: Section, summary: Summary | None, body: bytes | None) -> bytes | None:
    assert summary is not None, "asked for by FetchPlan.summaries"
    if body is not None:
        return section(body, summary.root, item.path, item.text, item.fields)
    if item.text == "HEADER":
        return summary.header
    return header_fields(summary.header, item.fields, inverted=item.text == "HEADER.FIELDS.NOT")
