"""Which mailboxes a command is about, beyond naming them one by one (RFC 5465 §6, RFC 7377 §2.2).

filter-mailboxes    = "selected" / "selected-delayed" / "inboxes" / "personal" / "subscribed" /
                      ("subtree" / "subtree-one" / "mailboxes") SP one-or-more-mailbox
one-or-more-mailbox = mailbox / "(" mailbox *(SP mailbox) ")"
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from mail_proto.imap.cursor import Cursor
from mail_proto.imap.errors import SyntaxFault

SELECTED: Final = frozenset({"SELECTED", "SELECTED-DELAYED"})
_WITH_NAMES: Final = frozenset({"SUBTREE", "SUBTREE-ONE", "MAILBOXES"})
_ALONE: Final = frozenset({"INBOXES", "PERSONAL", "SUBSCRIBED"})
# Of NOTIFY, and of ESEARCH.
NOTIFIED: Final = SELECTED | _ALONE | {"SUBTREE", "MAILBOXES"}
SEARCHED: Final = frozenset({"SELECTED"}) | _ALONE | _WITH_NAMES
# Ours.
MAX_NAMES: Final = 1_000


@dataclass(frozen=True, slots=True)
class MailboxFilter:
    """`kind` in upper case; `names`: of those kinds that have some."""

    kind: str
    names: tuple[str, ...] = ()

    def matches(self, name: str, *, subscribed: bool, personal: bool) -> bool:
        """Whether it is about this mailbox; what concerns the selected one is the session's business."""
        match self.kind:
            case "INBOXES":
                return name == "INBOX"
            case "PERSONAL":
                return personal
            case "SUBSCRIBED":
                return subscribed
            case "MAILBOXES":
                return name in self.names
            case "SUBTREE":
                return any(name == above or name.startswith(above + "/") for above in self.names)
            case "SUBTREE-ONE":
                return name in self.names or name.rpartition("/")[0] in self.names
        return False


def mailbox_filter(cursor: Cursor, known: Collection[str]) -> MailboxFilter:
    """Raises SyntaxFault: it isn't one of those known."""
    kind = cursor.keyword()
    if kind not in known:
        raise SyntaxFault(f"{kind[:40]} names no mailboxes here")
    if kind not in _WITH_NAMES:
        return MailboxFilter(kind)
    cursor.space()
    names = cursor.parenthesised(cursor.mailbox) if cursor.looking_at(b"(") else [cursor.mailbox()]
    if not 0 < len(names) <= MAX_NAMES:
        raise SyntaxFault(f"1 to {MAX_NAMES} mailboxes")
    return MailboxFilter(kind, tuple(names))
