"""What SEARCH and SORT answer (RFC 9051 §7.3.4, RFC 4731, RFC 5267 §3, RFC 9394): `* SEARCH`, `* SORT`, `* ESEARCH`."""

from __future__ import annotations

from collections.abc import Sequence

from mail_proto.imap import sequence
from mail_proto.imap.partial import PartialRange


def plain(word: bytes, numbers: Sequence[int], modseq: int = 0) -> bytes:
    """`* SEARCH` and `* SORT` of IMAP4rev1; `modseq`: the highest among them, where it is wanted (RFC 7162 §3.1.6)."""
    highest = b" (MODSEQ %d)" % modseq if modseq and numbers else b""
    return b"* " + word + b"".join(b" %d" % number for number in numbers) + highest + b"\r\n"


def correlator(tag: bytes, *, by_uid: bool, mailbox: bytes = b"", uid_validity: int = 0) -> bytes:
    """What an ESEARCH response begins with. `mailbox`, as it is shown, where several are searched (RFC 7377 §2.1)."""
    place = b" MAILBOX %b UIDVALIDITY %d" % (mailbox, uid_validity) if mailbox else b""
    return b"* ESEARCH (TAG %b%b)" % (quoted(tag), place) + (b" UID" if by_uid else b"")


def extended(
    beginning: bytes,
    options: frozenset[str],
    numbers: Sequence[int],
    *,
    modseq: int = 0,
    partial: PartialRange | None = None,
) -> bytes:
    """`* ESEARCH` with what was asked for; empty where the result is only to be saved (RFC 5182 §2.1).

    `beginning`: its `correlator`.
    `numbers` ascending, or as they were sorted: MIN and MAX are then the first and the last (RFC 5267 §3.1).
    """
    if options == {"SAVE"}:
        return b""
    items = [beginning]
    if numbers:
        if "MIN" in options:
            items.append(b"MIN %d" % numbers[0])
        if "MAX" in options:
            items.append(b"MAX %d" % numbers[-1])
        if "ALL" in options:
            items.append(b"ALL " + sequence.render(numbers))
    if partial is not None:
        items.append(b"PARTIAL (%b %b)" % (partial.render(), sequence.render(partial.of(numbers)) or b"NIL"))
    if "COUNT" in options:
        items.append(b"COUNT %d" % len(numbers))
    if modseq and numbers:
        items.append(b"MODSEQ %d" % modseq)
    return b" ".join(items) + b"\r\n"


def saved(options: frozenset[str], uids: Sequence[int], partial: PartialRange | None = None) -> list[int]:
    """What `$` stands for afterwards, and whose modseqs count: with MIN, MAX or PARTIAL alone only those.

    RFC 5182 §2.4, RFC 4731 §3.2, RFC 9394 §3.2.
    """
    if options & {"ALL", "COUNT"} or not options & {"MIN", "MAX", "PARTIAL"} or not uids:
        return sorted(uids)
    chosen = {uids[0]} if "MIN" in options else set()
    if "MAX" in options:
        chosen.add(uids[-1])
    if partial is not None:
        chosen.update(partial.of(uids))
    return sorted(chosen)


def quoted(tag: bytes) -> bytes:
    """A tag as a string."""
    return b'"' + tag.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
