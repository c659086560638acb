"""MTA-STS: the record in DNS, the policy behind it, and which hosts it allows (RFC 8461 §3, §4.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Mode = Literal["enforce", "testing", "none"]
_MODES: Final[dict[str, Mode]] = {"enforce": "enforce", "testing": "testing", "none": "none"}

# RFC 8461 §3.2: plaintext non-negative integer seconds, maximum value of 31557600.
MAX_AGE_LIMIT_S: Final = 31_557_600
# RFC 8461 §3.3 recommends a limit such as 64 kilobytes.
POLICY_LIMIT_OCTETS: Final = 65_536
# Ours: no domain has so many.
MX_LIMIT: Final = 100

# sts-text-record = sts-version 1*(sts-field-delim sts-field) [sts-field-delim]; sts-id = %s"id=" 1*32(ALPHA / DIGIT)
_RECORD: Final = re.compile(r"v=STSv1[ \t]*;(.*)", re.DOTALL)
_ID: Final = re.compile(r"id=([A-Za-z0-9]{1,32})")


class PolicyFault(Exception):
    """It is no policy of this version."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a domain asks of those who send to it. `mx` are names or `*.example.com`, in lower case."""

    mode: Mode
    max_age_s: int
    mx: tuple[str, ...]

    def allows(self, host: str) -> bool:
        """`*` stands for one label, the leftmost (RFC 8461 §4.1, RFC 6125 §6.4.3)."""
        host = host.lower().rstrip(".")
        return any(
            host.partition(".")[2] == pattern[2:] if pattern.startswith("*.") else host == pattern
            for pattern in self.mx
        )


def record_id(texts: Iterable[str]) -> str | None:
    """The `id` of the one record among a name's TXT records; None: none or several, which count as none (§3.1)."""
    records = [found[1] for text in texts if (found := _RECORD.fullmatch(text))]
    if len(records) != 1:
        return None
    ids = [found[1] for field in records[0].split(";") if (found := _ID.fullmatch(field.strip()))]
    return ids[0] if len(ids) == 1 else None


def parse_policy(octets: bytes) -> Policy:
    """Lines `key: value`, ended by LF or CRLF; of a repeated key the first counts, but for mx. Raises PolicyFault."""
    fields: dict[str, str] = {}
    mx: list[str] = []
    for line in octets.decode("utf-8", "replace").splitlines():
        key, colon, value = line.partition(":")
        if not colon and line.strip():
            raise PolicyFault(f"a line is no field: {line[:60]!r}")
        if key == "mx":
            mx.append(value.strip().lower().rstrip("."))
        else:
            fields.setdefault(key, value.strip())
    mode, max_age = _MODES.get(fields.get("mode", "")), fields.get("max_age", "")
    if fields.get("version") != "STSv1":
        raise PolicyFault("the version isn't STSv1")
    if mode is None:
        raise PolicyFault("there is no known mode")
    if not (max_age.isascii() and max_age.isdigit() and len(max_age) <= 10):
        raise PolicyFault("there is no max_age")
    if len(mx) > MX_LIMIT or (not mx and mode != "none"):
        raise PolicyFault("there is no mx, or too many")
    return Policy(mode, min(int(max_age), MAX_AGE_LIMIT_S), tuple(mx))
