"""Messages for tests: those in the repository, and the corpus of real ones where it is present."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[4]
OWN: Final = ROOT / "tests" / "messages"
CORPUS: Final = Path(os.environ.get("POSTROOM_CORPUS") or ROOT.parent / "shared" / "corpus")
_TRACE: Final = re.compile(rb"(?:(?:Return-Path|Received|X-Postroom-Trace):[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)")


def paths() -> list[Path]:
    """All of them, in the order of their names."""
    return [*sorted(OWN.glob("*.eml")), *sorted(CORPUS.glob("**/*.eml"))]


def as_sent(path: Path) -> bytes:
    """Octets as a client submits them: a file with bare LF gets CRLF, and the last line has its end."""
    octets = path.read_bytes()
    if b"\r\n" not in octets:
        octets = octets.replace(b"\n", b"\r\n")
    return octets if octets.endswith(b"\r\n") else octets + b"\r\n"


def without_trace(octets: bytes, fields: int) -> bytes:
    """The message behind the first `fields` trace fields, which Postroom has put in front."""
    at = 0
    for _ in range(fields):
        found = _TRACE.match(octets, at)
        assert found is not None, f"no trace field at octet {at} of {octets[:300]!r}"
        at = found.end()
    return octets[at:]
