"""Who wants to hear of what (RFC 3461 §4.1)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from mail_proto.dsn import Action
from mail_runtime.contracts.store import Notify

# What the sender has to have asked for; nothing said: failures and delays (RFC 3461 §5.2.5, §5.2.6).
_ASKED: Final[dict[Action, Notify]] = {
    "failed": "failure",
    "delayed": "delay",
    "delivered": "success",
    "relayed": "success",
}


def wants(action: Action, notify: Collection[Notify] | None) -> bool:
    """Whether a sender with this NOTIFY is told; None: it said nothing."""
    asked = _ASKED[action]
    return asked != "success" if notify is None else asked in notify
