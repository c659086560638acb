"""The states of a session and what is allowed in each (RFC 3501 §3)."""

from __future__ import annotations

import enum
from typing import Final

from mail_proto.imap import commands as c
from mail_proto.imap.errors import SyntaxFault
from mail_proto.imap.notify_grammar import Notify


class State(enum.Enum):
    NOT_AUTHENTICATED = "before login"
    AUTHENTICATED = "after login, with no mailbox selected"
    SELECTED = "with a mailbox selected"


_ANY: Final = frozenset(State)
_BEFORE: Final = frozenset({State.NOT_AUTHENTICATED})
_AFTER: Final = frozenset({State.AUTHENTICATED, State.SELECTED})
_SELECTED: Final = frozenset({State.SELECTED})

_SIMPLE: Final[dict[str, frozenset[State]]] = {
    "CAPABILITY": _ANY,
    "NOOP": _ANY,
    "LOGOUT": _ANY,
    "STARTTLS": _BEFORE,
    "IDLE": _AFTER,
    "UNAUTHENTICATE": _AFTER,
    "NAMESPACE": _AFTER,
    "CHECK": _SELECTED,
    "CLOSE": _SELECTED,
    "UNSELECT": _SELECTED,
}
_ALLOWED: Final[dict[type[c.Command], frozenset[State]]] = {
    c.Identify: _ANY,
    c.Enable: _AFTER,
    c.Compress: _AFTER,
    c.Authenticate: _BEFORE,
    c.Login: _BEFORE,
    c.Select: _AFTER,
    c.Create: _AFTER,
    c.OnMailbox: _AFTER,
    c.Quota: _AFTER,
    c.Acl: _AFTER,
    c.GetMetadata: _AFTER,
    c.SetMetadata: _AFTER,
    c.Rename: _AFTER,
    c.ListMailboxes: _AFTER,
    c.Status: _AFTER,
    c.Append: _AFTER,
    c.Expunge: _SELECTED,
    c.Replace: _SELECTED,
    c.Search: _SELECTED,
    c.SearchMailboxes: _AFTER,
    c.CancelUpdate: _SELECTED,
    Notify: _AFTER,
    c.Sort: _SELECTED,
    c.Thread: _SELECTED,
    c.Fetch: _SELECTED,
    c.StoreFlags: _SELECTED,
    c.Copy: _SELECTED,
}


def check_allowed(state: State, command: c.Command) -> None:
    """Raises SyntaxFault: not in this state."""
    allowed = _SIMPLE[command.name] if isinstance(command, c.Simple) else _ALLOWED[type(command)]
    if state not in allowed:
        raise SyntaxFault(f"not allowed {state.value}")
