"""Mailboxes, and what changes in them."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import msgspec

from mail_runtime.contracts.store.sharing import RIGHTS
from mail_runtime.contracts.store.uids import UidSet

# Ours: uids of one change that others wait for. Larger ones go by themselves.
MOST_TOGETHER: Final = 1000


class Mailbox(msgspec.Struct, frozen=True, kw_only=True):
    """One mailbox and its counters, as LIST and STATUS want them. `name` is Unicode, `/` separates levels.

    `retention_days`: messages are removed so long after they came; 0: never; None: as the domain says for its use.
    `owner_id`: whose it is, where it is another's; `name` is then what the asking account finds it by, and `rights`
    what it may do there (RFC 4314 §2.1). Without `r` the counters are 0. `recent_uid`: messages above are \\Recent
    (RFC 3501 §2.3.2), as far as nobody was told of them since; None: a store of the release before doesn't say.
    """

    id: UUID
    name: str
    uid_validity: int
    uid_next: int
    highest_modseq: int
    messages: int
    unseen: int
    octets: int
    subscribed: bool
    special_use: str | None = None  # with backslash: "\\Sent"
    retention_days: int | None = None
    owner_id: UUID | None = None
    rights: str = RIGHTS
    recent_uid: int | None = None


class CreateMailbox(msgspec.Struct, frozen=True, kw_only=True):
    """`special_use` as in CREATE … (USE (\\Sent)) (RFC 6154 §3).

    `subscribed`: from the beginning, or only if its name is (RFC 9051 §6.3.7).
    """

    name: str
    special_use: str | None = None
    subscribed: bool = True


class ChangeMailbox(msgspec.Struct, frozen=True, kw_only=True):
    """Fields that are None stay as they are. Renaming takes inferiors along; renaming INBOX moves its messages.

    `special_use` "": it has none any more. `retention_days` -1: as the domain says.
    """

    name: str | None = None
    subscribed: bool | None = None
    special_use: str | None = None
    retention_days: int | None = None


class Subscribe(msgspec.Struct, frozen=True, kw_only=True):
    """SUBSCRIBE, UNSUBSCRIBE by name: also that of a mailbox that is gone (RFC 9051 §6.3.8)."""

    name: str
    subscribed: bool


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What changed in a mailbox after `since`: parallel columns, ascending by uid.

    `flags` holds system flags and keywords as written (`\\Seen`, `$Forwarded`). `expunged` lists uids that
    were removed after `since`; with `since` 0 it is empty and the columns are the whole mailbox.
    `internal_dates` are seconds since the epoch, UTC. `is_whole`: the columns are the whole mailbox, also because
    `since` is too long ago to say what was removed: what isn't in them is gone.
    """

    mailbox: Mailbox
    uids: list[int]
    modseqs: list[int]
    flags: list[list[str]]
    internal_dates: list[int]
    octets: list[int]
    blob_ids: list[UUID]
    expunged: list[int]
    is_whole: bool = False


class AppendHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What precedes the message's octets in an APPEND. `internal_date` None means now.

    With an `id`, made by the frontend once per message, a repeated APPEND stores nothing twice.
    """

    flags: list[str] = []
    internal_date: datetime | None = None
    id: UUID | None = None


class Appended(msgspec.Struct, frozen=True, kw_only=True):
    uid_validity: int
    uid: int


class HandedAppend(msgspec.Struct, frozen=True, kw_only=True):
    """One of several messages of a request, which follow as a stream; its mailbox is one of the account's own."""

    account_id: UUID
    mailbox_id: UUID
    header: AppendHeader


class AppendAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one of them: as if it had come alone, an HTTP status and the text of an error, or its uid."""

    status: int
    text: str = ""
    appended: Appended | None = None


class Replaced(msgspec.Struct, frozen=True, kw_only=True):
    """REPLACE (RFC 8508): the new message's uid. `modseq`: of the mailbox that the other was removed from."""

    uid_validity: int
    uid: int
    modseq: int


class StoreFlags(msgspec.Struct, frozen=True, kw_only=True):
    """Change flags of messages. `unchanged_since`: leave those with a greater modseq alone (RFC 7162 §3.1.3).

    `seen`: the modseq up to which the frontend knows the mailbox; what changed since comes with the answer.
    """

    uids: UidSet
    operation: Literal["add", "remove", "replace"]
    flags: list[str]
    unchanged_since: int | None = None
    seen: int | None = None


class FlagSet(msgspec.Struct, frozen=True, kw_only=True):
    """One of several changes of flags in a request; of an own mailbox, no condition, `MOST_TOGETHER` uids at most."""

    account_id: UUID
    mailbox_id: UUID
    change: StoreFlags


class CopyMessages(msgspec.Struct, frozen=True, kw_only=True):
    uids: UidSet
    target_id: UUID
    move: bool = False


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """Parallel lists for COPYUID (RFC 4315 §3). Both empty if nothing matched.

    `modseq`: of the source once the messages were moved; 0: they were copied, or by an older store.
    """

    uid_validity: int
    source_uids: list[int]
    target_uids: list[int]
    modseq: int = 0


class Expunge(msgspec.Struct, frozen=True, kw_only=True):
    """Remove messages that carry \\Deleted: all, or those among `uids`. `force` ignores the flag (POP3).

    `seen` as in `StoreFlags`.
    """

    uids: UidSet | None = None
    force: bool = False
    seen: int | None = None


class MailboxIds(msgspec.Struct, frozen=True, kw_only=True):
    ids: list[UUID]


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """How many messages of a mailbox carry \\Deleted, and their octets (RFC 9051 §6.3.11, RFC 9208 §4.1.4)."""

    messages: int
    octets: int


class SetQuota(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of the account with this address; empty: the one that asks. None: what its domain gives."""

    address: str
    octets_limit: int | None = None
    messages_limit: int | None = None


class QuotaUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What an account uses and may use (RFC 9208 §5.1); None: unlimited."""

    octets: int
    messages: int
    octets_limit: int | None = None
    messages_limit: int | None = None
