"""What imap counts."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from mail_runtime.measuring import BUCKETS

CONNECTIONS: Final = Gauge("postroom_imap_connections", "Connections open now")
LOGINS: Final = Counter("postroom_imap_logins", "Logins", ["outcome"])
COMMANDS: Final = Histogram(
    "postroom_imap_command_seconds", "Commands: done, refused, unavailable", ["command", "outcome"], buckets=BUCKETS
)
# Looking a child up by its labels takes as long as counting.
_CHILDREN: Final[dict[tuple[str, str], Histogram]] = {}


def observe(command: str, outcome: str, seconds: float) -> None:
    """A command that took so long; `command` is one of those that there are."""
    child = _CHILDREN.get((command, outcome))
    if child is None:
        child = _CHILDREN[command, outcome] = COMMANDS.labels(command, outcome)
    child.observe(seconds)
