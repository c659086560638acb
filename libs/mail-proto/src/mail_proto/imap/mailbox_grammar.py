"""Arguments of the commands on mailboxes (RFC 9051 §9: select, create, list, status, append, …)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from mail_proto.imap import commands as c
from mail_proto.imap.cursor import Cursor
from mail_proto.imap.dates import parse_date_time
from mail_proto.imap.errors import SyntaxFault
from mail_proto.imap.sequence import SequenceSet

# RFC 9051 §6.3.11; APPENDLIMIT: RFC 7889 §3; DELETED-STORAGE: RFC 9208 §4.1.4;
# HIGHESTMODSEQ: RFC 7162 §3.1.7; MAILBOXID: RFC 8474 §4.3; RECENT: RFC 3501 §6.3.10.
STATUS_ITEMS: Final = frozenset(
    {
        "APPENDLIMIT",
        "DELETED",
        "DELETED-STORAGE",
        "HIGHESTMODSEQ",
        "MAILBOXID",
        "MESSAGES",
        "RECENT",
        "SIZE",
        "UIDNEXT",
        "UIDVALIDITY",
        "UNSEEN",
    }
)
MAX_PATTERNS: Final = 100

_SELECT_PARAMETERS: Final = frozenset({"CONDSTORE", "QRESYNC"})
# REMOTE: no mailbox is. RECURSIVEMATCH needs one of the others.
_SELECT_OPTIONS: Final = frozenset({"SUBSCRIBED", "SPECIAL-USE", "REMOTE", "RECURSIVEMATCH"})
_RETURN_OPTIONS: Final = frozenset({"SUBSCRIBED", "CHILDREN", "SPECIAL-USE", "STATUS", "MYRIGHTS"})


def _select(cursor: Cursor, name: str) -> c.Command:
    """select = "SELECT" SP mailbox [SP "(" select-param *(SP select-param) ")"]    (RFC 4466 §2.1, RFC 7162 §7)"""
    mailbox = cursor.mailbox()
    parameters: list[str] = []
    resync: c.Resync | None = None
    if cursor.skip(b" "):

        def parameter() -> None:
            nonlocal resync
            parameters.append(_option(cursor, _SELECT_PARAMETERS))
            if parameters[-1] == "QRESYNC":
                cursor.space()
                resync = _resync(cursor)

        cursor.parenthesised(parameter)
    return c.Select(mailbox, name == "EXAMINE", condstore="CONDSTORE" in parameters, resync=resync)


def _resync(cursor: Cursor) -> c.Resync:
    """ "(" uidvalidity SP mod-sequence-value [SP known-uids] [SP "(" known-sequence-set SP known-uid-set ")"] ")" """
    cursor.expect(b"(")
    uid_validity = cursor.number()
    cursor.space()
    modseq = cursor.modseq()
    known: SequenceSet | None = None
    matches: tuple[SequenceSet, SequenceSet] | None = None
    if cursor.skip(b" ") and not cursor.looking_at(b"("):
        known = _known(cursor)
        cursor.skip(b" ")
    if cursor.skip(b"("):
        numbers = _known(cursor)
        cursor.space()
        matches = (numbers, _known(cursor))
        cursor.expect(b")")
    cursor.expect(b")")
    return c.Resync(uid_validity, modseq, known, matches)


def _known(cursor: Cursor) -> SequenceSet:
    """known-uids = sequence-set ;; "*" is not allowed"""
    known = cursor.sequence_set()
    if known.is_saved or any(0 in pair for pair in known.ranges):
        raise SyntaxFault("what is known is named by numbers only")
    return known


def _on_mailbox(cursor: Cursor, name: str) -> c.Command:
    return c.OnMailbox(name, cursor.mailbox())


def _create(cursor: Cursor, name: str) -> c.Command:
    """create = "CREATE" SP mailbox [SP "(" "USE" SP "(" [use-attr *(SP use-attr)] ")" ")"] (RFC 6154 §6)."""
    mailbox = cursor.mailbox()
    uses: list[str] = []
    if cursor.skip(b" ("):
        cursor.expect(b"USE ")
        uses = cursor.parenthesised(cursor.flag)
        cursor.expect(b")")
    return c.Create(mailbox, tuple(uses))


def _rename(cursor: Cursor, name: str) -> c.Command:
    mailbox = cursor.mailbox()
    cursor.space()
    return c.Rename(mailbox, cursor.mailbox())


def _lsub(cursor: Cursor, name: str) -> c.Command:
    reference = cursor.mailbox()
    cursor.space()
    return c.ListMailboxes(reference, (cursor.list_mailbox(),), is_lsub=True)


def _list(cursor: Cursor, name: str) -> c.Command:
    """list = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts]"""
    select: frozenset[str] = frozenset()
    is_extended = cursor.looking_at(b"(")
    if is_extended:
        select = frozenset(cursor.parenthesised(lambda: _option(cursor, _SELECT_OPTIONS)))
        if "RECURSIVEMATCH" in select and not select & {"SUBSCRIBED", "SPECIAL-USE"}:
            raise SyntaxFault("RECURSIVEMATCH needs something to match (RFC 9051 section 6.3.9.1)")
        cursor.space()
    reference = cursor.mailbox()
    cursor.space()
    if cursor.looking_at(b"("):
        is_extended = True
        patterns = tuple(cursor.parenthesised(cursor.list_mailbox))
        if not 0 < len(patterns) <= MAX_PATTERNS:
            raise SyntaxFault(f"1 to {MAX_PATTERNS} patterns")
    else:
        patterns = (cursor.list_mailbox(),)
    wanted: list[str] = []
    status: tuple[str, ...] = ()
    if cursor.skip(b" RETURN "):
        is_extended = True

        def option() -> None:
            nonlocal status
            wanted.append(_option(cursor, _RETURN_OPTIONS))
            if wanted[-1] == "STATUS":
                cursor.space()
                status = _status_items(cursor)

        cursor.parenthesised(option)
    if is_extended:  # RFC 9051 §6.3.9: empty patterns are ignored then
        patterns = tuple(filter(None, patterns))
    return c.ListMailboxes(reference, patterns, select=select, wanted=frozenset(wanted), status=status)


def _option(cursor: Cursor, known: frozenset[str]) -> str:
    option = cursor.keyword()
    if option not in known:
        raise SyntaxFault(f"the option {option[:40]} is not offered")
    return option


def _status(cursor: Cursor, name: str) -> c.Command:
    mailbox = cursor.mailbox()
    cursor.space()
    return c.Status(mailbox, _status_items(cursor))


def _status_items(cursor: Cursor) -> tuple[str, ...]:
    items = tuple(dict.fromkeys(cursor.parenthesised(cursor.keyword)))
    if not items or not STATUS_ITEMS.issuperset(items):
        raise SyntaxFault(f"STATUS knows {', '.join(sorted(STATUS_ITEMS))}")
    return items


def _append(cursor: Cursor, name: str) -> c.Command:
    """append = "APPEND" SP mailbox 1*append-message    append-message = append-opts SP append-data    (RFC 4466 §4)"""
    mailbox = cursor.mailbox()
    cursor.space()
    messages = [new_message(cursor)]
    while cursor.skip(b" ") and not cursor.at_end:
        messages.append(new_message(cursor))
    return c.Append(mailbox, tuple(messages))


def new_message(cursor: Cursor) -> c.NewMessage:
    """[flag-list SP] [date-time SP] (literal / literal8 / utf8-literal / catenate)

    catenate = "CATENATE" SP "(" cat-part *(SP cat-part) ")"    (RFC 4469 §5)
    """
    flags: tuple[str, ...] = ()
    date: datetime | None = None
    if cursor.looking_at(b"("):
        flags = tuple(cursor.parenthesised(cursor.flag))
        cursor.space()
    if cursor.looking_at(b'"'):
        try:
            date = parse_date_time(cursor.string().decode("ascii"))
        except ValueError as error:
            raise SyntaxFault('a date-time is written "17-Jul-1996 02:44:25 -0700"') from error
        cursor.space()
    if cursor.skip(b"CATENATE "):
        parts = cursor.parenthesised(lambda: _part(cursor))
        if not parts:
            raise SyntaxFault("there is nothing to catenate")
        return c.NewMessage(flags, date, b"", parts=tuple(parts))
    if not cursor.skip(b"UTF8 ("):
        is_binary = cursor.skip(b"~")
        return c.NewMessage(flags, date, cursor.literal(), is_binary)
    cursor.expect(b"~")
    octets = cursor.literal()
    cursor.expect(b")")
    return c.NewMessage(flags, date, octets, is_binary=True)


def _part(cursor: Cursor) -> bytes | str:
    """cat-part = "TEXT" SP literal / "URL" SP astring    (RFC 4469 §5)"""
    if cursor.skip(b"URL "):
        return cursor.text()
    cursor.expect(b"TEXT ")
    cursor.skip(b"~")
    return cursor.literal()


def _quota(cursor: Cursor, name: str) -> c.Command:
    """getquota = "GETQUOTA" SP quota-root-name    getquotaroot = "GETQUOTAROOT" SP mailbox    (RFC 9208 §7)"""
    if name == "GETQUOTAROOT":
        return c.Quota(name, cursor.mailbox())
    root = cursor.text()
    if name == "GETQUOTA":
        return c.Quota(name, root)
    cursor.space()
    return c.Quota(name, root, tuple(cursor.parenthesised(lambda: _limit(cursor))))


def _limit(cursor: Cursor) -> tuple[str, int]:
    resource = cursor.keyword()
    cursor.space()
    return resource, cursor.number()


COMMANDS: Final[dict[str, Callable[[Cursor, str], c.Command]]] = {
    "SELECT": _select,
    "EXAMINE": _select,
    "CREATE": _create,
    "DELETE": _on_mailbox,
    "SUBSCRIBE": _on_mailbox,
    "UNSUBSCRIBE": _on_mailbox,
    "RENAME": _rename,
    "LIST": _list,
    "LSUB": _lsub,
    "STATUS": _status,
    "APPEND": _append,
    "GETQUOTA": _quota,
    "GETQUOTAROOT": _quota,
    "SETQUOTA": _quota,
}
