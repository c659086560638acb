"""Message ids, and which messages one refers to (RFC 5322 §3.6.4, RFC 5256 §3).

    msg-id = [CFWS] "<" id-left "@" id-right ">" [CFWS]

Tolerant: whatever stands between angle brackets is an id, white space in it (from folding) is left out, and quotes
that the local part doesn't need are taken off, so that one id has one spelling (RFC 5256 §3, step 1 of REFERENCES).
"""

from __future__ import annotations

import re
from typing import Final

from mail_proto.message.charsets import decode_octets

# RFC 5322 §2.1.1: a line has 998 octets at most, and an id can't be folded.
MAX_ID_OCTETS: Final = 998
# Ours: the first of a conversation, and the ones before this message; enough to find its thread.
MAX_REFERENCES: Final = 100
# Ours: what is read of a field.
MAX_FIELD_OCTETS: Final = 65_536

_ANGLE: Final = re.compile(rb"<([^<>]++)>")
_SPACE: Final = re.compile(rb"[\x00-\x20]++")
_QUOTED: Final = re.compile(rb'"((?:[^"\\]|\\.)*+)"(@.*+)', re.DOTALL)
_QUOTED_PAIR: Final = re.compile(rb"\\(.)", re.DOTALL)


def message_ids(value: bytes | None) -> list[str]:
    """The ids in a field value, each once, without their brackets."""
    if not value:
        return []
    found = (_normal(match) for match in _ANGLE.findall(value[:MAX_FIELD_OCTETS]))
    return list(dict.fromkeys(text for text in found if text))


def message_id(value: bytes | None) -> str:
    """The id of a Message-ID field; empty where it has none. One without brackets counts too."""
    if not value:
        return ""
    found = _ANGLE.search(value[:MAX_FIELD_OCTETS])
    return _normal(found[1] if found else value.partition(b" ")[0])


def references(values: dict[bytes, bytes]) -> list[str]:
    """The messages that this one follows, oldest first (RFC 5256 §3, step 1 of REFERENCES).

    Those of References; where that names none, the first of In-Reply-To. At most MAX_REFERENCES.
    """
    found = message_ids(values.get(b"references")) or message_ids(values.get(b"in-reply-to"))[:1]
    return found if len(found) <= MAX_REFERENCES else [found[0], *found[1 - MAX_REFERENCES :]]


def _normal(octets: bytes) -> str:
    octets = _SPACE.sub(b"", octets)
    if len(octets) > MAX_ID_OCTETS:
        return ""
    if octets.startswith(b'"') and (quoted := _QUOTED.fullmatch(octets)):
        octets = _QUOTED_PAIR.sub(rb"\1", quoted[1]) + quoted[2]
    return decode_octets(octets)
