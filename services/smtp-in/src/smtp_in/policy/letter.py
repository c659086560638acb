"""A message and its envelope, as filters are told of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Letter:
    """`user` is the account that submits, by an address of it; empty for mail from outside."""

    client: str
    helo: str
    reverse_path: str
    recipients: tuple[str, ...]
    user: str
    hostname: str
    message: bytes
