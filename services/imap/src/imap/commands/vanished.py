"""What was removed and what changed since a modseq that the client knows (RFC 7162 §3.2.5, §3.2.6)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import chain

from imap.session import Selected, Session
from mail_proto.imap import sequence
from mail_proto.imap.commands import Resync
from mail_proto.imap.sequence import SequenceSet
from mail_proto.imap.view import Telling, View
from mail_runtime.contracts.store.uids import joined


async def vanished(session: Session, selected: Selected, since: int, wanted: SequenceSet, above: int = 0) -> bytes:
    """`* VANISHED (EARLIER)`: uids of a set that were removed after `since`, but for those up to `above`.

    When the store doesn't remember that far back, all uids of the set that no message has. Raises NotFound,
    Unavailable.
    """
    # A modseq of 0 is older than anything (RFC 7162 §3.2.6, note).
    columns = await session.store.columns(session.account_id, selected.mailbox.id, max(1, since))
    last = columns.mailbox.uid_next - 1
    ranges = [(max(first, above + 1), min(end, last)) for first, end in wanted.resolved(last)]
    ranges = [(first, end) for first, end in ranges if first <= end]
    if not columns.is_whole:
        ranges = list(_common(ranges, joined(columns.expunged)))
    # What the client still sees vanishes for it later, without EARLIER.
    gone = list(sequence.gaps(ranges, selected.view.known_uids()))
    return b"* VANISHED (EARLIER) " + sequence.render_ranges(gone) + b"\r\n" if gone else b""


async def resync(session: Session, selected: Selected, known: Resync) -> bytes:
    """What a client that comes back has missed (RFC 7162 §3.2.5). Raises NotFound, Unavailable."""
    view = selected.view
    if known.uid_validity != selected.mailbox.uid_validity:
        return b""
    wanted = known.known or SequenceSet(((1, 0),))
    above = _matching_uid(view, known.matches) if known.matches else 0
    removed = await vanished(session, selected, known.modseq, wanted, above)
    within = set(view.select(wanted, by_uid=True)) if known.known else None
    telling = Telling(with_uid=True, with_modseq=True)
    changed = (
        view.state(uid, telling)
        for uid in view.columns.changed_since(known.modseq)
        if uid <= view.last_uid and (within is None or uid in within)
    )
    return removed + b"".join(changed)


def _matching_uid(view: View, matches: tuple[SequenceSet, SequenceSet]) -> int:
    """The highest uid that had the same number when the client saw it: up to there it knows what was removed."""
    numbers, uids = (chain.from_iterable(range(first, end + 1) for first, end in one.ranges) for one in matches)
    known = view.known_uids()
    found = 0
    for number, uid in zip(numbers, uids, strict=False):
        if number > len(known):
            break
        if known[number - 1] == uid:
            found = uid
    return found


def _common(one: Iterable[tuple[int, int]], other: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """What is in both of two ascending lists of ranges."""
    ends = [end for _, end in other]
    for first, last in one:
        for start, end in other[bisect_left(ends, first) :]:
            if start > last:
                break
            yield max(first, start), min(last, end)
