"""Arguments of the commands on messages (RFC 9051 §9: expunge, search, fetch, store, copy; RFC 5256: sort, thread)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from mail_proto.imap import commands as c
from mail_proto.imap.cursor import Cursor
from mail_proto.imap.errors import Refused, SyntaxFault
from mail_proto.imap.fetch_items import FetchItem, parse_fetch_items, peeked
from mail_proto.imap.mailbox_filters import SEARCHED, MailboxFilter, mailbox_filter
from mail_proto.imap.mailbox_grammar import new_message
from mail_proto.imap.partial import PartialRange, partial_range
from mail_proto.imap.search_keys import Everything, SearchKey, SearchParser
from mail_proto.imap.sort_keys import sort_criteria, thread_algorithm

# RFC 4731 §3.1, RFC 5182 §2.1, RFC 9394 §3.1, RFC 5267 §4.
_RESULTS: Final = frozenset({"MIN", "MAX", "ALL", "COUNT", "SAVE", "PARTIAL", "CONTEXT", "UPDATE"})


# What clients fetch of one message after the other is parsed once.
KNOWN_ITEMS: Final = 500
KNOWN_OCTETS: Final = 200
_known_items: Final[dict[bytes, tuple[FetchItem, ...]]] = {}


def _expunge(cursor: Cursor, name: str, by_uid: bool) -> c.Command:
    return c.Expunge(cursor.sequence_set())


def _search(cursor: Cursor, name: str, by_uid: bool) -> c.Command:
    """search = "SEARCH" [SP "RETURN" SP "(" [options] ")"] SP ["CHARSET" SP charset SP] search-key *(SP search-key)"""
    returned = _results(cursor)
    key, fault = _program(cursor, returned.options)
    return c.Search(key, by_uid, returned.options, fault, returned.partial, returned.fetched)


def _program(cursor: Cursor, results: frozenset[str] | None) -> tuple[SearchKey, Refused | None]:
    """["CHARSET" SP charset SP] search-key *(SP search-key); a fault where a failure empties what was saved."""
    charset = ""
    if cursor.skip(b"CHARSET "):
        charset = cursor.text().upper()
        cursor.space()
    try:
        return SearchParser(cursor, charset).program(), None
    except Refused as fault:
        if results is None or "SAVE" not in results:
            raise
        cursor.at = len(cursor.octets)
        return Everything(), fault


def _search_mailboxes(cursor: Cursor, name: str, by_uid: bool) -> c.Command:
    """esearch = "ESEARCH" [SP "IN" SP "(" filter-mailboxes *(SP filter-mailboxes) ")"] [SP search-return-opts]
    SP search-program    (RFC 7377 §4; UID stands before it in its example of §2)
    """
    sources: tuple[MailboxFilter, ...] = (MailboxFilter("SELECTED"),)
    if cursor.skip(b"IN "):
        sources = tuple(cursor.parenthesised(lambda: mailbox_filter(cursor, SEARCHED)))
        if not sources:
            raise SyntaxFault("there is nothing to search in")
        cursor.space()
    returned = _results(cursor)
    key, fault = _program(cursor, returned.options)
    results = returned.options or frozenset({"ALL"})
    command = c.SearchMailboxes(sources, key, results, returned.partial, fault, returned.fetched)
    if "SAVE" in command.results and any(source.kind != "SELECTED" for source in sources):
        raise SyntaxFault("only results in the selected mailbox are saved (RFC 7377 section 2.2)")
    if "UPDATE" in command.results and not command.of_selected:
        raise SyntaxFault("only results in the selected mailbox are kept up to date (RFC 7377 section 2.2)")
    return command


class _Returned(NamedTuple):
    """What stands behind RETURN; `fetched`: of new messages that a search finds (RFC 5465 §7)."""

    options: frozenset[str] | None = None
    partial: PartialRange | None = None
    fetched: tuple[FetchItem, ...] = ()


def _results(cursor: Cursor) -> _Returned:
    """None: there is no RETURN. No options at all mean ALL (RFC 4731 §3.1)."""
    if not cursor.skip(b"RETURN "):
        return _Returned()
    results: set[str] = set()
    partial: PartialRange | None = None
    fetched: tuple[FetchItem, ...] = ()

    def option() -> None:
        nonlocal partial, fetched
        word = cursor.keyword()
        if word not in _RESULTS:
            raise SyntaxFault(f"the option {word[:40]} is not offered")
        if word == "PARTIAL":
            if partial is not None:
                raise SyntaxFault("one PARTIAL at a time (RFC 9394 section 3.1)")
            cursor.space()
            partial = partial_range(cursor)
        if word == "UPDATE" and cursor.looking_at(b" ("):
            cursor.space()
            fetched = peeked(parse_fetch_items(cursor))
        results.add(word)

    cursor.parenthesised(option)
    if partial is not None and "ALL" in results:
        raise SyntaxFault("either ALL or PARTIAL (RFC 9394 section 3.1)")
    cursor.space()
    return _Returned(frozenset(results) or frozenset({"ALL"}), partial, fetched)


def _sort(cursor: Cursor, name: str, by_uid: bool) -> c.Command:
    """RFC 5256 §5: the charset must be there. RETURN: RFC 5267 §3."""
    returned = _results(cursor)
    criteria = sort_criteria(cursor)
    cursor.space()
    return c.Sort(criteria, _in_charset(cursor), by_uid, *returned)


def _thread(cursor: Cursor, name: str, by_uid: bool) -> c.Command:
    algorithm = thread_algorithm(cursor)
    cursor.space()
    return c.Thread(algorithm, _in_charset(cursor), by_uid)


def _in_charset(cursor: Cursor) -> SearchKey:
    """search-criteria = charset 1*(SP search-key)"""
    charset = cursor.text().upper()
    cursor.space()
    return SearchParser(cursor, charset).program()


def _fetch(cursor: Cursor, name: str, by_uid: bool) -> c.Command:
    """fetch = "FETCH" SP sequence-set SP fetch-att… [SP "(" fetch-modifier *(SP fetch-modifier) ")"]  (RFC 4466)"""
    messages = cursor.sequence_set()
    cursor.space()
    start = cursor.at
    if known := _known_items.get(cursor.octets[start:]):
        cursor.at = len(cursor.octets)
        return c.Fetch(messages, known, by_uid)
    items = parse_fetch_items(cursor)
    if cursor.at_end and cursor.at - start <= KNOWN_OCTETS:
        if len(_known_items) >= KNOWN_ITEMS:
            _known_items.clear()
        _known_items[cursor.octets[start:]] = items
    changed_since: int | None = None
    vanished = False
    partial: PartialRange | None = None
    if cursor.skip(b" ("):
        while not cursor.skip(b")"):
            if cursor.skip(b"CHANGEDSINCE "):
                changed_since = cursor.modseq()
            elif cursor.skip(b"PARTIAL "):
                partial = partial_range(cursor)
            else:
                cursor.expect(b"VANISHED")
                vanished = True
            cursor.skip(b" ")
        if vanished and (changed_since is None or not by_uid):
            raise SyntaxFault("VANISHED goes with UID FETCH and CHANGEDSINCE (RFC 7162 section 3.2.6)")
        if partial is not None and not by_uid:
            raise SyntaxFault("PARTIAL goes with UID FETCH (RFC 9394 section 3.3)")
    return c.Fetch(messages, items, by_uid, changed_since, vanished, partial)


def _store(cursor: Cursor, name: str, by_uid: bool) -> c.Command:
    messages = cursor.sequence_set()
    cursor.space()
    unchanged_since: int | None = None
    if cursor.skip(b"("):  # store-modifiers (RFC 4466 §2.5)
        cursor.expect(b"UNCHANGEDSINCE ")
        unchanged_since = cursor.modseq()
        cursor.expect(b") ")
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
    return c.StoreFlags(messages, operation, tuple(flags), silent, by_uid, unchanged_since)


def _copy(cursor: Cursor, name: str, by_uid: bool) -> c.Command:
    messages = cursor.sequence_set()
    cursor.space()
    return c.Copy(messages, cursor.mailbox(), by_uid, move=name == "MOVE")


def _replace(cursor: Cursor, name: str, by_uid: bool) -> c.Command:
    """replace = "REPLACE" SP seq-number SP mailbox append-message    (RFC 8508 §5)"""
    message = cursor.sequence_set()
    if message.is_saved or len(message.ranges) != 1 or len(set(message.ranges[0])) != 1:
        raise SyntaxFault("one message is replaced")
    cursor.space()
    mailbox = cursor.mailbox()
    cursor.space()
    return c.Replace(message, mailbox, new_message(cursor), by_uid)


COMMANDS: Final[dict[str, Callable[[Cursor, str, bool], c.Command]]] = {
    "EXPUNGE": _expunge,
    "SEARCH": _search,
    "ESEARCH": _search_mailboxes,
    "SORT": _sort,
    "THREAD": _thread,
    "FETCH": _fetch,
    "STORE": _store,
    "COPY": _copy,
    "REPLACE": _replace,
    "MOVE": _copy,
}
