"""Dates on the wire (RFC 3501 §9: date-time, date)."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Final

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_OF: Final = {name.lower(): number for number, name in enumerate(_MONTHS, 1)}
_DATE_TIME: Final = re.compile(
    r"([ 0-3]?[0-9])-([A-Za-z]{3})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-9]{2})"
)
_DATE: Final = re.compile(r"([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4})")


def parse_date_time(text: str) -> datetime:
    """`17-Jul-1996 02:44:25 -0700`, aware. Raises ValueError."""
    found = _DATE_TIME.fullmatch(text)
    if found is None or (month := _MONTH_OF.get(found[2].lower())) is None:
        raise ValueError("not a date-time")
    offset = timedelta(hours=int(found[8]), minutes=int(found[9]))
    return datetime(
        int(found[3]),
        month,
        int(found[1]),
        int(found[4]),
        int(found[5]),
        int(found[6]),
        tzinfo=timezone(-offset if found[7] == "-" else offset),
    )


def parse_date(text: str) -> date:
    """`1-Feb-1994`. Raises ValueError."""
    found = _DATE.fullmatch(text)
    if found is None or (month := _MONTH_OF.get(found[2].lower())) is None:
        raise ValueError("not a date")
    return date(int(found[3]), month, int(found[1]))


def render_date_time(seconds: int) -> bytes:
    """Seconds since the epoch as a quoted date-time in UTC."""
    when = datetime.fromtimestamp(seconds, UTC)
    return (
        f'"{when.day:2d}-{_MONTHS[when.month - 1]}-{when.year:04d} {when.hour:02d}:{when.minute:02d}:'
        f'{when.second:02d} +0000"'
    ).encode("ascii")
