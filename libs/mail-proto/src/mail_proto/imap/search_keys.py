"""What SEARCH looks for (RFC 3501 §6.4.4): the grammar of search keys as a tree."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final, Literal
from uuid import UUID

from mail_proto.imap.cursor import Cursor
from mail_proto.imap.dates import parse_date
from mail_proto.imap.errors import Refused, SyntaxFault
from mail_proto.imap.object_ids import parse_email_id, parse_thread_id
from mail_proto.imap.sequence import SequenceSet

# Ours: deeper nesting and more keys than any client builds.
MAX_DEPTH: Final = 50
MAX_KEYS: Final = 2_000
# RFC 9051 §9: number has 32 bits.
MAX_INTERVAL_S: Final = 4_294_967_295


@dataclass(frozen=True, slots=True)
class Everything:
    """ALL."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """A set of sequence numbers, or of uids."""

    numbers: SequenceSet
    are_uids: bool


@dataclass(frozen=True, slots=True)
class HasFlag:
    """A flag is set; `flag` in lower case."""

    flag: str


@dataclass(frozen=True, slots=True)
class Size:
    """LARGER, SMALLER: octets."""

    limit: int
    larger: bool


@dataclass(frozen=True, slots=True)
class Received:
    """BEFORE, ON, SINCE: the internal date, `first` <= day < `end`."""

    first: date | None
    end: date | None


@dataclass(frozen=True, slots=True)
class Sent:
    """SENTBEFORE, SENTON, SENTSINCE: the Date field."""

    first: date | None
    end: date | None


@dataclass(frozen=True, slots=True)
class Saved:
    """SAVEDBEFORE, SAVEDON, SAVEDSINCE (RFC 8514 §4.3): the day that it came into this mailbox."""

    first: date | None
    end: date | None


@dataclass(frozen=True, slots=True)
class Age:
    """YOUNGER, OLDER (RFC 5032 §3): seconds since the internal date."""

    seconds: int
    older: bool


@dataclass(frozen=True, slots=True)
class Changed:
    """MODSEQ (RFC 7162 §3.1.5): a modseq of `since` or more."""

    since: int


@dataclass(frozen=True, slots=True)
class HasId:
    """EMAILID, THREADID (RFC 8474 §5.3)."""

    of: Literal["email", "thread"]
    id: UUID


@dataclass(frozen=True, slots=True)
class InHeader:
    """A header field contains a text; an empty text: the field is there."""

    name: bytes
    text: str


@dataclass(frozen=True, slots=True)
class InText:
    """BODY, TEXT: the decoded text contains it; `header_too` for TEXT."""

    text: str
    header_too: bool


@dataclass(frozen=True, slots=True)
class Not:
    key: SearchKey


@dataclass(frozen=True, slots=True)
class AnyOf:
    keys: tuple[SearchKey, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    keys: tuple[SearchKey, ...]


SearchKey = (
    Everything
    | Numbers
    | HasFlag
    | Size
    | Received
    | Sent
    | Saved
    | Age
    | Changed
    | HasId
    | InHeader
    | InText
    | Not
    | AnyOf
    | AllOf
)

_FLAGS: Final = ("ANSWERED", "DELETED", "DRAFT", "FLAGGED", "SEEN")
_NOTHING: Final = Not(Everything())
# RFC 3501 §6.4.4; of a session, so that only its view knows.
RECENT: Final = HasFlag("\\recent")
_FIXED: Final[dict[str, SearchKey]] = {
    "ALL": Everything(),
    "NEW": AllOf((RECENT, Not(HasFlag("\\seen")))),
    "RECENT": RECENT,
    "OLD": Not(RECENT),
    "SAVEDATESUPPORTED": Everything(),
    **{flag: HasFlag("\\" + flag.lower()) for flag in _FLAGS},
    **{"UN" + flag: Not(HasFlag("\\" + flag.lower())) for flag in _FLAGS},
}
_HEADERS: Final = ("BCC", "CC", "FROM", "SUBJECT", "TO")


def contains(key: SearchKey, *kinds: type) -> bool:
    """Whether a key of one of these classes is in it."""
    match key:
        case _ if isinstance(key, kinds):
            return True
        case Not(inner):
            return contains(inner, *kinds)
        case AnyOf(keys) | AllOf(keys):
            return any(contains(inner, *kinds) for inner in keys)
    return False


def has_sequence_numbers(key: SearchKey) -> bool:
    """Whether messages are named by number: numbers must stay meanwhile (RFC 9051 §7.5.1)."""
    match key:
        case Numbers(numbers, are_uids):
            return not (are_uids or numbers.is_saved)
        case Not(inner):
            return has_sequence_numbers(inner)
        case AnyOf(keys) | AllOf(keys):
            return any(has_sequence_numbers(inner) for inner in keys)
    return False


class SearchParser:
    """Reads keys in one charset."""

    def __init__(self, cursor: Cursor, charset: str) -> None:
        self._cursor = cursor
        self._codec = _codec(charset)
        self._keys = 0

    def program(self) -> SearchKey:
        """search-key *(SP search-key), to the end of the command. Raises SyntaxFault, Refused: BADCHARSET."""
        keys = [self.key()]
        while self._cursor.skip(b" ") and not self._cursor.at_end:
            keys.append(self.key())
        self._cursor.end()
        return keys[0] if len(keys) == 1 else AllOf(tuple(keys))

    def key(self, depth: int = 0) -> SearchKey:
        self._keys += 1
        if depth > MAX_DEPTH or self._keys > MAX_KEYS:
            raise SyntaxFault("the search is too complex")
        cursor = self._cursor
        if cursor.looking_at(b"("):
            keys = cursor.parenthesised(lambda: self.key(depth + 1))
            if not keys:
                raise SyntaxFault("there is nothing between the parentheses")
            return AllOf(tuple(keys))
        if cursor.octets[cursor.at : cursor.at + 1] in b"0123456789*$" and not cursor.at_end:
            return Numbers(cursor.sequence_set(), are_uids=False)
        word = cursor.keyword()
        if word in _FIXED:
            return _FIXED[word]
        cursor.space()
        return self._with_argument(word, depth)

    def _with_argument(self, word: str, depth: int) -> SearchKey:
        cursor = self._cursor
        match word:
            case "NOT":
                return Not(self.key(depth + 1))
            case "OR":
                first = self.key(depth + 1)
                cursor.space()
                return AnyOf((first, self.key(depth + 1)))
            case "UID":
                return Numbers(cursor.sequence_set(), are_uids=True)
            case "KEYWORD":
                return HasFlag(cursor.flag().lower())
            case "UNKEYWORD":
                return Not(HasFlag(cursor.flag().lower()))
            case "LARGER" | "SMALLER":
                return Size(cursor.number(), larger=word == "LARGER")
            case "BEFORE" | "ON" | "SINCE":
                return Received(*self._days(word))
            case "SENTBEFORE" | "SENTON" | "SENTSINCE":
                return Sent(*self._days(word.removeprefix("SENT")))
            case "SAVEDBEFORE" | "SAVEDON" | "SAVEDSINCE":
                return Saved(*self._days(word.removeprefix("SAVED")))
            case "YOUNGER" | "OLDER":
                return Age(self._interval(), older=word == "OLDER")
            case "MODSEQ":
                return self._modseq()
            case "EMAILID" | "THREADID":
                return self._object_id(word)
            case "HEADER":
                name = cursor.astring()
                cursor.space()
                return InHeader(name, self._text())
            case "BODY" | "TEXT":
                return InText(self._text(), header_too=word == "TEXT")
            case _ if word in _HEADERS:
                return InHeader(word.encode("ascii"), self._text())
        raise SyntaxFault(f"{word[:40]} is no search key")

    def _days(self, word: str) -> tuple[date | None, date | None]:
        try:
            day = parse_date(self._cursor.astring().decode("ascii"))
            following = date.fromordinal(day.toordinal() + 1)
        except ValueError as error:
            raise SyntaxFault("a date is written 1-Feb-1994") from error
        return {"BEFORE": (None, day), "ON": (day, following), "SINCE": (day, None)}[word]

    def _interval(self) -> int:
        """RFC 5032 §4: nz-number."""
        seconds = self._cursor.number()
        if not 0 < seconds <= MAX_INTERVAL_S:
            raise SyntaxFault("an interval is a number of seconds, 1 or more")
        return seconds

    def _modseq(self) -> SearchKey:
        """search-modsequence = "MODSEQ" [entry-name SP entry-type-req] SP mod-sequence-valzer

        There is one modseq for all of a message: entry names are ignored (RFC 7162 §3.1.5).
        """
        cursor = self._cursor
        if cursor.looking_at(b'"'):
            cursor.string()
            cursor.space()
            if cursor.keyword() not in {"PRIV", "SHARED", "ALL"}:
                raise SyntaxFault("an entry is priv, shared or all")
            cursor.space()
        return Changed(cursor.modseq())

    def _object_id(self, word: str) -> SearchKey:
        octets = self._cursor.atom()
        is_email = word == "EMAILID"
        found = parse_email_id(octets) if is_email else parse_thread_id(octets)
        return _NOTHING if found is None else HasId("email" if is_email else "thread", found)

    def _text(self) -> str:
        octets = self._cursor.astring()
        try:
            return octets.decode(self._codec)
        except UnicodeDecodeError as error:
            raise Refused("the text isn't in the charset named", "BADCHARSET (US-ASCII UTF-8)") from error


def _codec(charset: str) -> str:
    # Clients that send 8-bit text without a charset mean UTF-8.
    if charset in ("", "US-ASCII", "ASCII", "UTF-8", "UTF8"):
        return "utf-8"
    if charset in ("ISO-8859-1", "ISO-8859-15", "WINDOWS-1252"):
        return charset.lower()
    raise Refused("this charset isn't supported", "BADCHARSET (US-ASCII UTF-8)")
