"""Events on the stream `EVENTS`: what happened, told after the commit, at least once.

Subject `events.<what>.<outcome>`, payload CloudEvents 1.0 in JSON (structured mode of its NATS binding §3.2).
Consumers drop an `id` that they have seen.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

EVENTS_STREAM: Final = "EVENTS"
EVENTS_SUBJECTS: Final = "events.>"
CLOUDEVENT_TYPE: Final = "application/cloudevents+json"


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event. `type` is `<what>.<outcome>`; `data` never holds message text, subjects or passwords.

    `domainid` and `accountid` are extension attributes: whose event it is.
    """

    id: UUID
    source: str
    type: str
    time: datetime
    data: msgspec.Raw = msgspec.Raw(b"{}")
    specversion: str = "1.0"
    datacontenttype: str = "application/json"
    domainid: UUID | msgspec.UnsetType = msgspec.UNSET
    accountid: UUID | msgspec.UnsetType = msgspec.UNSET


def event_subject(event_type: str) -> str:
    """Where events of a type (`message.stored`) are published."""
    return f"events.{event_type}"
