"""How an object storage fails."""

from __future__ import annotations


class ObjectMissing(FileNotFoundError):
    """There is no object of this key."""


class Passing(OSError):
    """A time-out, a broken connection or an answer of 5xx: trying again may help."""


class Failed(OSError):
    """An answer that will be the same next time, such as wrong credentials."""


class Damaged(ValueError):
    """The octets aren't those that were stored."""
