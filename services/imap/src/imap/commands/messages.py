"""Commands that copy and remove messages: COPY, MOVE, EXPUNGE."""

from __future__ import annotations

from imap.session import Done, Session
from mail_proto.imap import sequence
from mail_proto.imap.commands import Copy, Expunge
from mail_proto.imap.errors import Refused
from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import NotFound
from mail_runtime.contracts.store.uids import compact


async def copy(session: Session, command: Copy) -> Done:
    """COPY (RFC 3501 §6.4.7), MOVE (RFC 6851), with the uids of both sides (RFC 4315 §3)."""
    selected = session.writable() if command.move else session.selected
    assert selected is not None, "checked by states.check_allowed"
    try:
        target = await session.find_mailbox(command.mailbox)
        uids = selected.view.select(command.messages, by_uid=command.by_uid)
        if not uids:
            return Done("no such messages")
        wanted = wire.CopyMessages(uids=compact(uids), target_id=target.id, move=command.move)
        copied = await session.store.copy(session.account_id, selected.mailbox.id, wanted)
    except (Refused, NotFound) as error:
        raise Refused("there is no such mailbox", "TRYCREATE") from error
    if not copied.source_uids:
        return Done("the messages are gone", "EXPUNGEISSUED")
    if target.id == selected.mailbox.id:
        selected.own_uids.update(copied.target_uids)
    source = sequence.render(copied.source_uids).decode("ascii")
    code = f"COPYUID {copied.uid_validity} {source} {sequence.render(copied.target_uids).decode('ascii')}"
    if command.move or target.id == selected.mailbox.id:
        session.watch.changed.set()
    if command.move:
        # RFC 6851 §4.3: before the EXPUNGE responses, so that the client can connect the two.
        await session.send(f"* OK [{code}] moved\r\n".encode("ascii"))
        # RFC 7162 §3.2.7: what vanished is told before the OK.
        return Done("moved", f"HIGHESTMODSEQ {copied.modseq}" if copied.modseq and session.enabled.qresync else "")
    return Done("copied", code)


async def expunge(session: Session, command: Expunge) -> Done:
    """EXPUNGE (RFC 3501 §6.4.3), UID EXPUNGE (RFC 4315 §2.1)."""
    selected = session.writable()
    uids = None if command.uids is None else selected.view.select(command.uids, by_uid=True)
    wanted = wire.Expunge(uids=None if uids is None else compact(uids))
    expunged = await session.expunge(wanted)
    # RFC 7162 §3.2.7: everything up to there is told before the OK.
    code = f"HIGHESTMODSEQ {expunged.modseq}" if expunged.uids and session.enabled.qresync else ""
    return Done("expunged", code)
