"""Messages on their way in."""

from __future__ import annotations

from uuid import UUID

import msgspec


class Transmission(msgspec.Struct, frozen=True, kw_only=True):
    """Envelope of one accepted DATA. The message follows it in the same HTTP body.

    `id` is made by the frontend once per DATA: a repeated POST with the same id stores nothing twice.
    `submitted_by` is None for mail from outside: then every recipient must be local.
    An empty `reverse_path` is the null reverse path.
    """

    id: UUID
    reverse_path: str
    recipients: list[str]
    submitted_by: UUID | None = None
    smtputf8: bool = False


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """Committed: the message is stored and every recipient is delivered or queued."""

    transmission_id: UUID
