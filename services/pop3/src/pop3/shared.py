"""What all connections of the process use together."""

from __future__ import annotations

from dataclasses import dataclass, field

from mail_runtime.store_client import StoreClient
from pop3.ahead import Budget
from pop3.locks import Locks
from pop3.settings import Settings


@dataclass(frozen=True, slots=True)
class Shared:
    """Made once, at start."""

    settings: Settings
    store: StoreClient
    locks: Locks
    ahead: Budget = field(default_factory=Budget)
