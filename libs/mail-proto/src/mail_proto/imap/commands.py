"""The commands of IMAP as values, and their grammar (RFC 3501 §9, command)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from mail_proto.imap.cursor import Cursor
from mail_proto.imap.dates import parse_date_time
from mail_proto.imap.errors import ImapFault, SyntaxFault
from mail_proto.imap.fetch_items import FetchItem, parse_fetch_items
from mail_proto.imap.search_keys import SearchKey, SearchParser
from mail_proto.imap.sequence import SequenceSet
from mail_proto.imap.sort_keys import SortCriterion, ThreadAlgorithm, sort_criteria, thread_algorithm

# RFC 3501 §6.3.10; APPENDLIMIT: RFC 7889 §3.
STATUS_ITEMS: Final = frozenset({"APPENDLIMIT", "MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN"})
MAX_PATTERNS: Final = 100


@dataclass(frozen=True, slots=True)
class Simple:
    """A command without arguments; `name` in upper case: NOOP, CHECK, CLOSE, IDLE, …"""

    name: str


@dataclass(frozen=True, slots=True)
class Authenticate:
    """`initial` is still Base64 (RFC 4959); None: not sent."""

    mechanism: str
    initial: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Login:
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Identify:
    """ID (RFC 2971)."""


@dataclass(frozen=True, slots=True)
class Enable:
    """ENABLE (RFC 5161); the names in upper case."""

    extensions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Select:
    """SELECT, or EXAMINE when `read_only`."""

    mailbox: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class OnMailbox:
    """CREATE, DELETE, SUBSCRIBE, UNSUBSCRIBE."""

    name: str
    mailbox: str


@dataclass(frozen=True, slots=True)
class Rename:
    mailbox: str
    new: str


@dataclass(frozen=True, slots=True)
class ListMailboxes:
    """LIST, or LSUB when `is_lsub`. `select` and `wanted`: options of RFC 5258, in upper case."""

    reference: str
    patterns: tuple[str, ...]
    is_lsub: bool = False
    select: frozenset[str] = frozenset()
    wanted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Status:
    mailbox: str
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Append:
    mailbox: str
    flags: tuple[str, ...]
    date: datetime | None
    message: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Expunge:
    """EXPUNGE; with `uids` UID EXPUNGE (RFC 4315 §2.1)."""

    uids: SequenceSet | None = None


@dataclass(frozen=True, slots=True)
class Search:
    key: SearchKey
    by_uid: bool


@dataclass(frozen=True, slots=True)
class Sort:
    criteria: tuple[SortCriterion, ...]
    key: SearchKey
    by_uid: bool


@dataclass(frozen=True, slots=True)
class Thread:
    algorithm: ThreadAlgorithm
    key: SearchKey
    by_uid: bool


@dataclass(frozen=True, slots=True)
class Fetch:
    messages: SequenceSet
    items: tuple[FetchItem, ...]
    by_uid: bool


@dataclass(frozen=True, slots=True)
class StoreFlags:
    messages: SequenceSet
    operation: Literal["add", "remove", "replace"]
    flags: tuple[str, ...]
    silent: bool
    by_uid: bool


@dataclass(frozen=True, slots=True)
class Copy:
    """COPY, or MOVE (RFC 6851)."""

    messages: SequenceSet
    mailbox: str
    by_uid: bool
    move: bool


Command = (
    Simple
    | Authenticate
    | Login
    | Identify
    | Enable
    | Select
    | OnMailbox
    | Rename
    | ListMailboxes
    | Status
    | Append
    | Expunge
    | Search
    | Sort
    | Thread
    | Fetch
    | StoreFlags
    | Copy
)

SIMPLE: Final = frozenset(
    {"CAPABILITY", "NOOP", "LOGOUT", "STARTTLS", "CHECK", "CLOSE", "UNSELECT", "IDLE", "NAMESPACE"}
)


def parse_command(octets: bytes) -> tuple[bytes, Command]:
    """(tag, command) of a complete command. Raises TaggedFault."""
    cursor = Cursor(octets)
    tag = b"*"
    try:
        tag = cursor.tag()
        cursor.space()
        name = cursor.keyword()
        by_uid = name == "UID"
        if by_uid:
            cursor.space()
            name = cursor.keyword()
        command = _arguments(cursor, name, by_uid=by_uid)
        cursor.end()
    except ImapFault as fault:
        raise TaggedFault(tag, fault) from fault
    return tag, command


class TaggedFault(Exception):
    """A command that can't be taken, with the tag to answer it by (`*` if there is none)."""

    def __init__(self, tag: bytes, fault: ImapFault) -> None:
        super().__init__(str(fault))
        self.tag, self.fault = tag, fault


def _arguments(cursor: Cursor, name: str, *, by_uid: bool) -> Command:
    if by_uid and name not in _MESSAGE_COMMANDS:
        raise SyntaxFault("UID goes with FETCH, STORE, SEARCH, SORT, THREAD, COPY, MOVE and EXPUNGE")
    if name in SIMPLE:
        return Simple(name)
    if name == "EXPUNGE" and not by_uid:
        return Expunge()
    if name in _MESSAGE_COMMANDS:
        cursor.space()
        return _MESSAGE_COMMANDS[name](cursor, name, by_uid)
    parse = _COMMANDS.get(name)
    if parse is None:
        raise SyntaxFault("unknown command")
    cursor.space()
    return parse(cursor, name)


def _authenticate(cursor: Cursor, name: str) -> Command:
    mechanism = cursor.keyword()
    if not cursor.skip(b" "):
        return Authenticate(mechanism)
    initial = cursor.octets[cursor.at :]
    cursor.at = len(cursor.octets)
    return Authenticate(mechanism, initial)


def _login(cursor: Cursor, name: str) -> Command:
    user = cursor.text()
    cursor.space()
    return Login(user, cursor.text())


def _identify(cursor: Cursor, name: str) -> Command:
    if not cursor.skip(b"NIL"):
        cursor.parenthesised(lambda: cursor.skip(b"NIL") or cursor.string())
    return Identify()


def _enable(cursor: Cursor, name: str) -> Command:
    extensions = [cursor.keyword()]
    while cursor.skip(b" ") and not cursor.at_end:
        extensions.append(cursor.keyword())
    return Enable(tuple(extensions))


def _select(cursor: Cursor, name: str) -> Command:
    return Select(cursor.mailbox(), read_only=name == "EXAMINE")


def _on_mailbox(cursor: Cursor, name: str) -> Command:
    return OnMailbox(name, cursor.mailbox())


def _rename(cursor: Cursor, name: str) -> Command:
    mailbox = cursor.mailbox()
    cursor.space()
    return Rename(mailbox, cursor.mailbox())


def _lsub(cursor: Cursor, name: str) -> Command:
    reference = cursor.mailbox()
    cursor.space()
    return ListMailboxes(reference, (cursor.list_mailbox(),), is_lsub=True)


_SELECT_OPTIONS: Final = frozenset({"SUBSCRIBED", "SPECIAL-USE", "REMOTE"})
_RETURN_OPTIONS: Final = frozenset({"SUBSCRIBED", "CHILDREN", "SPECIAL-USE"})


def _list(cursor: Cursor, name: str) -> Command:
    """RFC 3501 §6.3.8; the options of RFC 5258 that SPECIAL-USE needs (RFC 6154 §2)."""
    select: frozenset[str] = frozenset()
    wanted: frozenset[str] = frozenset()
    if cursor.looking_at(b"("):
        select = _options(cursor, _SELECT_OPTIONS)
        cursor.space()
    reference = cursor.mailbox()
    cursor.space()
    if cursor.looking_at(b"("):
        patterns = tuple(cursor.parenthesised(cursor.list_mailbox))
        if not 0 < len(patterns) <= MAX_PATTERNS:
            raise SyntaxFault(f"1 to {MAX_PATTERNS} patterns")
    else:
        patterns = (cursor.list_mailbox(),)
    if cursor.skip(b" RETURN "):
        wanted = _options(cursor, _RETURN_OPTIONS)
    return ListMailboxes(reference, patterns, select=select, wanted=wanted)


def _options(cursor: Cursor, known: frozenset[str]) -> frozenset[str]:
    options = frozenset(cursor.parenthesised(cursor.keyword))
    if unknown := options - known:
        raise SyntaxFault(f"the option {min(unknown)[:40]} is not offered")
    return options


def _status(cursor: Cursor, name: str) -> Command:
    mailbox = cursor.mailbox()
    cursor.space()
    items = tuple(dict.fromkeys(cursor.parenthesised(cursor.keyword)))
    if not items or not STATUS_ITEMS.issuperset(items):
        raise SyntaxFault(f"STATUS knows {', '.join(sorted(STATUS_ITEMS))}")
    return Status(mailbox, items)


def _append(cursor: Cursor, name: str) -> Command:
    mailbox = cursor.mailbox()
    cursor.space()
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
    return Append(mailbox, flags, date, cursor.literal())


_COMMANDS: Final[dict[str, Callable[[Cursor, str], Command]]] = {
    "AUTHENTICATE": _authenticate,
    "LOGIN": _login,
    "ID": _identify,
    "ENABLE": _enable,
    "SELECT": _select,
    "EXAMINE": _select,
    "CREATE": _on_mailbox,
    "DELETE": _on_mailbox,
    "SUBSCRIBE": _on_mailbox,
    "UNSUBSCRIBE": _on_mailbox,
    "RENAME": _rename,
    "LIST": _list,
    "LSUB": _lsub,
    "STATUS": _status,
    "APPEND": _append,
}


def _expunge(cursor: Cursor, name: str, by_uid: bool) -> Command:
    return Expunge(cursor.sequence_set())


def _search(cursor: Cursor, name: str, by_uid: bool) -> Command:
    charset = ""
    if cursor.skip(b"CHARSET "):
        charset = cursor.text().upper()
        cursor.space()
    return Search(SearchParser(cursor, charset).program(), by_uid)


def _sort(cursor: Cursor, name: str, by_uid: bool) -> Command:
    """RFC 5256 §5: the charset must be there."""
    criteria = sort_criteria(cursor)
    cursor.space()
    return Sort(criteria, _in_charset(cursor), by_uid)


def _thread(cursor: Cursor, name: str, by_uid: bool) -> Command:
    algorithm = thread_algorithm(cursor)
    cursor.space()
    return Thread(algorithm, _in_charset(cursor), by_uid)


def _in_charset(cursor: Cursor) -> SearchKey:
    """search-criteria = charset 1*(SP search-key)"""
    charset = cursor.text().upper()
    cursor.space()
    return SearchParser(cursor, charset).program()


def _fetch(cursor: Cursor, name: str, by_uid: bool) -> Command:
    messages = cursor.sequence_set()
    cursor.space()
    return Fetch(messages, parse_fetch_items(cursor), by_uid)


def _store(cursor: Cursor, name: str, by_uid: bool) -> Command:
    messages = cursor.sequence_set()
    cursor.space()
    operation: Literal["add", "remove", "replace"] = "replace"
    if cursor.skip(b"+"):
        operation = "add"
    elif cursor.skip(b"-"):
        operation = "remove"
    cursor.expect(b"FLAGS")
    silent = cursor.skip(b".SILENT")
    cursor.space()
    if cursor.looking_at(b"("):
        flags = cursor.parenthesised(cursor.flag)
    else:
        flags = [cursor.flag()]
        while cursor.skip(b" ") and not cursor.at_end:
            flags.append(cursor.flag())
    return StoreFlags(messages, operation, tuple(flags), silent, by_uid)


def _copy(cursor: Cursor, name: str, by_uid: bool) -> Command:
    messages = cursor.sequence_set()
    cursor.space()
    return Copy(messages, cursor.mailbox(), by_uid, move=name == "MOVE")


_MESSAGE_COMMANDS: Final[dict[str, Callable[[Cursor, str, bool], Command]]] = {
    "EXPUNGE": _expunge,
    "SEARCH": _search,
    "SORT": _sort,
    "THREAD": _thread,
    "FETCH": _fetch,
    "STORE": _store,
    "COPY": _copy,
    "MOVE": _copy,
}
