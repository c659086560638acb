"""The commands of IMAP as values (RFC 9051 §6, RFC 3501 §6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from mail_proto.imap.errors import Refused
from mail_proto.imap.fetch_items import FetchItem
from mail_proto.imap.fetch_plan import FetchPlan, plan
from mail_proto.imap.mailbox_filters import MailboxFilter
from mail_proto.imap.notify_grammar import Notify
from mail_proto.imap.partial import PartialRange
from mail_proto.imap.search_keys import SearchKey
from mail_proto.imap.sequence import SequenceSet
from mail_proto.imap.sort_keys import SortCriterion, ThreadAlgorithm


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
class Compress:
    """COMPRESS (RFC 4978); the mechanism in upper case."""

    mechanism: str


@dataclass(frozen=True, slots=True)
class Resync:
    """What a client knows of a mailbox from before (RFC 7162 §3.2.5).

    `known`: uids; None: all. `matches`: numbers that it knew, and their uids.
    """

    uid_validity: int
    modseq: int
    known: SequenceSet | None = None
    matches: tuple[SequenceSet, SequenceSet] | None = None


@dataclass(frozen=True, slots=True)
class Select:
    """SELECT, or EXAMINE when `read_only`."""

    mailbox: str
    read_only: bool
    condstore: bool = False
    resync: Resync | None = None


@dataclass(frozen=True, slots=True)
class Create:
    """CREATE; `uses`: special-use attributes (RFC 6154 §3)."""

    mailbox: str
    uses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OnMailbox:
    """DELETE, SUBSCRIBE, UNSUBSCRIBE."""

    name: str
    mailbox: str


@dataclass(frozen=True, slots=True)
class Rename:
    mailbox: str
    new: str


@dataclass(frozen=True, slots=True)
class ListMailboxes:
    """LIST, or LSUB when `is_lsub`.

    `select` and `wanted`: selection and return options in upper case. `status`: items of a STATUS for each mailbox.
    """

    reference: str
    patterns: tuple[str, ...]
    is_lsub: bool = False
    select: frozenset[str] = frozenset()
    wanted: frozenset[str] = frozenset()
    status: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Status:
    mailbox: str
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NewMessage:
    """`is_binary`: sent as a literal8, which may hold NUL (RFC 3516 §4.4, RFC 6855 §4).

    `parts`: what CATENATE puts together instead, octets and URLs of messages (RFC 4469 §3).
    """

    flags: tuple[str, ...]
    date: datetime | None
    octets: bytes = field(repr=False)
    is_binary: bool = False
    parts: tuple[bytes | str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Append:
    """One message, or several that are stored all or none (RFC 3502)."""

    mailbox: str
    messages: tuple[NewMessage, ...]


@dataclass(frozen=True, slots=True)
class Replace:
    """REPLACE (RFC 8508): `message` is one, named by number or uid."""

    message: SequenceSet
    mailbox: str
    new: NewMessage
    by_uid: bool


@dataclass(frozen=True, slots=True)
class Expunge:
    """EXPUNGE; with `uids` UID EXPUNGE (RFC 4315 §2.1)."""

    uids: SequenceSet | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """`results`: options of RETURN, in upper case; None: it wasn't there. `partial`: the range of PARTIAL (RFC 9394).

    `fetched`: what is told of new messages that it finds while it is kept up to date (RFC 5465 §7).
    `fault`: why it can't be done, where a result was to be saved: that is empty then (RFC 5182 §2.1).
    """

    key: SearchKey
    by_uid: bool
    results: frozenset[str] | None = None
    fault: Refused | None = field(default=None, compare=False)
    partial: PartialRange | None = None
    fetched: tuple[FetchItem, ...] = ()


@dataclass(frozen=True, slots=True)
class Sort:
    """`results`, `partial` and `fetched` as of Search (RFC 5267 §3)."""

    criteria: tuple[SortCriterion, ...]
    key: SearchKey
    by_uid: bool
    results: frozenset[str] | None = None
    partial: PartialRange | None = None
    fetched: tuple[FetchItem, ...] = ()


@dataclass(frozen=True, slots=True)
class SearchMailboxes:
    """ESEARCH (RFC 7377): `sources` are searched, the results are uids; the rest as of Search."""

    sources: tuple[MailboxFilter, ...]
    key: SearchKey
    results: frozenset[str]
    partial: PartialRange | None = None
    fault: Refused | None = field(default=None, compare=False)
    fetched: tuple[FetchItem, ...] = ()

    @property
    def of_selected(self) -> bool:
        """Whether the selected mailbox is among what is searched."""
        return any(source.kind == "SELECTED" for source in self.sources)


@dataclass(frozen=True, slots=True)
class CancelUpdate:
    """CANCELUPDATE (RFC 5267 §4.3.5): tags of searches."""

    tags: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Quota:
    """GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 9208 §4.1); `subject`: a quota root, or a mailbox for GETQUOTAROOT.

    `limits`: of SETQUOTA, by resource in upper case.
    """

    name: str
    subject: str
    limits: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Acl:
    """GETACL, SETACL, DELETEACL, LISTRIGHTS, MYRIGHTS (RFC 4314 §3); `rights` without `c` and `d`."""

    name: str
    mailbox: str
    identifier: str = ""
    rights: str = ""
    how: Literal["replace", "add", "remove"] = "replace"


@dataclass(frozen=True, slots=True)
class GetMetadata:
    """GETMETADATA (RFC 5464 §4.2); an empty mailbox: the server. `depth` None: however deep."""

    mailbox: str
    entries: tuple[str, ...]
    max_octets: int | None = None
    depth: int | None = 0


@dataclass(frozen=True, slots=True)
class SetMetadata:
    """SETMETADATA (RFC 5464 §4.3); None removes an entry."""

    mailbox: str
    values: Mapping[str, bytes | None] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Thread:
    algorithm: ThreadAlgorithm
    key: SearchKey
    by_uid: bool


@dataclass(frozen=True, slots=True)
class Fetch:
    """`changed_since`: only what has a greater modseq; `vanished`: and what was removed after it (RFC 7162 §3.1.4).

    `partial`: only these of the messages (RFC 9394 §3.3), of which `changed_since` leaves some out.
    `plan`: what the items need.
    """

    messages: SequenceSet
    items: tuple[FetchItem, ...]
    by_uid: bool
    changed_since: int | None = None
    vanished: bool = False
    partial: PartialRange | None = None
    plan: FetchPlan = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        with_modseq = self.changed_since is not None
        object.__setattr__(self, "plan", plan(self.items, by_uid=self.by_uid, with_modseq=with_modseq))


@dataclass(frozen=True, slots=True)
class StoreFlags:
    """`unchanged_since`: leave those with a greater modseq alone (RFC 7162 §3.1.3)."""

    messages: SequenceSet
    operation: Literal["add", "remove", "replace"]
    flags: tuple[str, ...]
    silent: bool
    by_uid: bool
    unchanged_since: int | None = None


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
    | Compress
    | Select
    | Create
    | OnMailbox
    | Quota
    | Acl
    | GetMetadata
    | SetMetadata
    | Rename
    | ListMailboxes
    | Status
    | Append
    | Replace
    | Expunge
    | Search
    | Sort
    | Thread
    | SearchMailboxes
    | CancelUpdate
    | Notify
    | Fetch
    | StoreFlags
    | Copy
)

SIMPLE: Final = frozenset(
    {"CAPABILITY", "NOOP", "LOGOUT", "STARTTLS", "CHECK", "CLOSE", "UNSELECT", "IDLE", "NAMESPACE", "UNAUTHENTICATE"}
)
