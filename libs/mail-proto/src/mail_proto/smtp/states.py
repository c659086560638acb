"""The states of a server's session, and which commands belong to each (RFC 5321 §4.1.4); `session` draws them."""

from __future__ import annotations

import enum
from typing import Final

HELP: Final = "AUTH BDAT DATA EHLO EXPN HELO HELP LHLO MAIL NOOP QUIT RCPT RSET STARTTLS VRFY XCLIENT"
VERBS: Final = frozenset(HELP.split())
# They bring a session no further.
IDLE: Final = frozenset({"EHLO", "HELO", "LHLO", "RSET", "NOOP", "HELP", "VRFY", "EXPN"})


class State(enum.Enum):
    """REFUSED: the client was turned away and may only QUIT (RFC 5321 §3.1)."""

    REFUSED = "refused"
    START = "start"
    READY = "ready"
    MAIL = "mail"
    CHUNKS = "chunks"
    DATA = "data"
    CHUNK = "chunk"
    AUTH = "auth"
    CLOSED = "closed"


_ANYWHERE: Final = frozenset({"EHLO", "HELO", "LHLO", "RSET", "NOOP", "QUIT", "HELP", "VRFY", "EXPN", "BDAT"})
# BDAT is read in any state, since octets follow it; it judges by itself.
LEGAL: Final[dict[State, frozenset[str]]] = {
    State.REFUSED: frozenset({"QUIT"}),
    State.START: _ANYWHERE | {"XCLIENT"},
    State.READY: _ANYWHERE | {"MAIL", "AUTH", "STARTTLS", "XCLIENT"},
    State.MAIL: _ANYWHERE | {"RCPT", "DATA"},
    State.CHUNKS: _ANYWHERE,
}


def why_not(state: State, verb: str, *, lmtp: bool) -> str:
    """What a client is told whose command doesn't belong there."""
    match state, verb:
        case State.REFUSED, _:
            return "no service for you; QUIT"
        case State.START, _:
            return f"say {'LHLO' if lmtp else 'EHLO'} first"
        case State.READY, _:
            return "MAIL comes first"
        case State.CHUNKS, "DATA":
            return "BDAT and DATA don't mix"  # RFC 3030 §2
    return "a mail transaction is open already"
