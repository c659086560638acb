"""One thing that was looked at, how it is, and what to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`advice` is empty when all is well."""

    area: str
    subject: str
    state: State
    found: str
    advice: str = ""

    def row(self) -> dict[str, Any]:
        """For a table or JSON."""
        return asdict(self)


def ok(area: str, subject: str, found: str) -> Finding:
    return Finding(area, subject, "ok", found)


def warning(area: str, subject: str, found: str, advice: str) -> Finding:
    return Finding(area, subject, "warning", found, advice)


def problem(area: str, subject: str, found: str, advice: str) -> Finding:
    return Finding(area, subject, "problem", found, advice)
