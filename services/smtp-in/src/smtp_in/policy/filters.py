"""What a content filter says of a message, and how it is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from smtp_in.policy.letter import Letter

Action = Literal["accept", "junk", "greylist", "defer", "reject"]


class FilterDown(Exception):
    """It can't be reached, doesn't answer in time, or doesn't make sense."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """What to do; `text` is for the client, `fields` are put in front of the message, each with CRLF."""

    action: Action = "accept"
    text: str = ""
    fields: bytes = b""


class Filter(Protocol):
    """One filter; any number of messages at a time."""

    name: str

    async def judge(self, letter: Letter) -> Opinion:
        """Raises FilterDown."""
