"""Values as people type them."""

from __future__ import annotations

import re
from typing import Any, Final

import typer

_SIZE: Final = re.compile(r"(\d+)([kmgt]?)(?:i?b)?", re.IGNORECASE)
_FACTOR: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_TIME: Final = re.compile(r"(\d+)([smhd]?)")
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
NONE: Final = "none"


def octets(text: str) -> int | None:
    """`500M`, `2G`, a number, or `none` for no limit. Raises typer.BadParameter."""
    if text == NONE:
        return None
    found = _SIZE.fullmatch(text)
    if found is None:
        raise typer.BadParameter(f"{text!r}: write a number of octets, 500M, 2G, or none")
    return int(found[1]) * _FACTOR[found[2].lower()]


def number(text: str) -> int | None:
    """A number, or `none` for no limit. Raises typer.BadParameter."""
    if text == NONE:
        return None
    if not text.isdecimal():
        raise typer.BadParameter(f"{text!r}: write a number, or none")
    return int(text)


def duration_s(text: str) -> int | None:
    """`90`, `15m`, `2h`, `5d` in seconds, or `none`. Raises typer.BadParameter."""
    if text == NONE:
        return None
    found = _TIME.fullmatch(text)
    if found is None:
        raise typer.BadParameter(f"{text!r}: write a number of seconds, 15m, 2h, 5d, or none")
    return int(found[1]) * _SECONDS[found[2]]


def given(**options: Any) -> dict[str, Any]:
    """The options that were given; what is left out stays as it is."""
    return {name: value for name, value in options.items() if value is not None}


def limits(**options: str | None) -> dict[str, int | None]:
    """Limits that were given, by the names of the API; those of octets may have a unit."""
    return {
        name: (octets if name.endswith("octets") else number)(text)
        for name, text in options.items()
        if text is not None
    }


def human(count: int) -> str:
    """Octets for eyes."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
