"""STORE (RFC 9051 §6.4.6), on condition that nobody else was quicker (RFC 7162 §3.1.3)."""

from __future__ import annotations

from collections.abc import Sequence

from imap.session import Done, Session
from mail_proto.imap import sequence
from mail_proto.imap.commands import StoreFlags
from mail_proto.imap.view import View
from mail_runtime.contracts import store as wire
from mail_runtime.contracts.store.uids import compact


async def store_flags(session: Session, command: StoreFlags) -> Done:
    """The flags are told as they are then, unless the client knows them: it said .SILENT, and nobody interfered."""
    selected = session.writable()
    view = selected.view
    uids = view.select(command.messages, by_uid=command.by_uid)
    if not uids:
        return Done("no such messages" if command.by_uid else "nothing to store")
    before = {uid: view.columns.flags_of(uid) for uid in uids if view.is_told(uid)} if command.silent else {}
    change = wire.StoreFlags(
        uids=compact(uids),
        operation=command.operation,
        flags=list(command.flags),
        unchanged_since=command.unchanged_since,
    )
    stored = await session.store_flags(change)
    refused = set(stored.modified)
    if command.silent:
        expected = _Expected(command)
        known = [uid for uid, flags in before.items() if uid not in refused and expected.is_met(view, uid, flags)]
        view.hush(known)
        view.touch(known, quietly=True)
    else:
        view.touch(uids)
    view.touch(refused)
    return _outcome(command, view, uids, stored.modified)


class _Expected:
    """What a client takes the flags for after its STORE. Most messages have one of few sets of flags."""

    def __init__(self, command: StoreFlags) -> None:
        self._operation = command.operation
        self._flags = frozenset(flag.lower() for flag in command.flags)
        self._known: dict[tuple[Sequence[str], Sequence[str]], bool] = {}

    def is_met(self, view: View, uid: int, before: Sequence[str]) -> bool:
        after = view.columns.flags_of(uid)
        found = self._known.get((before, after))
        if found is None:
            lowered = frozenset(flag.lower() for flag in before)
            match self._operation:
                case "add":
                    wanted = lowered | self._flags
                case "remove":
                    wanted = lowered - self._flags
                case "replace":
                    wanted = self._flags - {"\\recent"}
            found = self._known[before, after] = wanted == frozenset(flag.lower() for flag in after)
        return found


def _outcome(command: StoreFlags, view: View, uids: Sequence[int], modified: Sequence[int]) -> Done:
    if modified:
        numbers = modified if command.by_uid else [view.number(uid) for uid in modified if view.knows(uid)]
        return Done("some were changed by others", f"MODIFIED {sequence.render(numbers).decode('ascii')}")
    if any(view.is_gone(uid) for uid in uids):
        return Done("stored; some messages are gone", "EXPUNGEISSUED")
    return Done("stored")
