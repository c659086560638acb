"""Values of the store's internal interface, a module for each subject.

Fields may be added with a default, never removed: old and new processes talk to each other during an upgrade.
"""

from mail_runtime.contracts.store.columns import Columns
from mail_runtime.contracts.store.contents import BlobIds, Summary
from mail_runtime.contracts.store.directory import (
    BearerToken,
    Credentials,
    MaildropLock,
    Principal,
    Protocol,
    RecipientStatus,
    Resolution,
    ScramChallenge,
    ScramFinish,
    ScramFinished,
    ScramStart,
)
from mail_runtime.contracts.store.ingest import Accepted, DsnRequest, Notify, Ret, Transmission
from mail_runtime.contracts.store.mailboxes import (
    Appended,
    AppendHeader,
    ChangeMailbox,
    Changes,
    Copied,
    CopyMessages,
    CreateMailbox,
    Expunge,
    Expunged,
    FlagsStored,
    Mailbox,
    StoreFlags,
    Subscribe,
)
from mail_runtime.contracts.store.maildrops import (
    CloseMaildrop,
    KeepMaildrops,
    LoggedIn,
    LogInToMaildrop,
    Maildrop,
    OpenMaildrop,
    Retrieve,
    RetrievePiece,
)
from mail_runtime.contracts.store.queue import Claim, ClaimDeliveries, ClaimedDelivery, Outcome, Outcomes, RelayJob
from mail_runtime.contracts.store.uids import UidSet

__all__ = [
    "Accepted",
    "AppendHeader",
    "Appended",
    "BearerToken",
    "BlobIds",
    "ChangeMailbox",
    "Changes",
    "Claim",
    "ClaimDeliveries",
    "ClaimedDelivery",
    "CloseMaildrop",
    "Columns",
    "Copied",
    "CopyMessages",
    "CreateMailbox",
    "Credentials",
    "DsnRequest",
    "Expunge",
    "Expunged",
    "FlagsStored",
    "KeepMaildrops",
    "LogInToMaildrop",
    "LoggedIn",
    "Mailbox",
    "Maildrop",
    "MaildropLock",
    "Notify",
    "OpenMaildrop",
    "Outcome",
    "Outcomes",
    "Principal",
    "Protocol",
    "RecipientStatus",
    "RelayJob",
    "Resolution",
    "Ret",
    "Retrieve",
    "RetrievePiece",
    "ScramChallenge",
    "ScramFinish",
    "ScramFinished",
    "ScramStart",
    "StoreFlags",
    "Subscribe",
    "Summary",
    "Transmission",
    "UidSet",
]
