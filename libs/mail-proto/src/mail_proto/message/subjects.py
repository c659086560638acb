"""The base subject: what messages of one conversation have in common (RFC 5256 §2.1, grammar in §5).

    subj-refwd   = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":"     subj-trailer = "(fwd)" / WSP
    subj-blob    = "[" *BLOBCHAR "]" *WSP                         subj-fwd-hdr = "[fwd:"
    subj-leader  = (*subj-blob subj-refwd) / WSP                  subj-fwd-trl = "]"

Matching moves two offsets over the text and never looks back: linear, however many prefixes there are.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_SPACES: Final = re.compile(r"[\t\r\n ]+")
_BLOBS: Final = re.compile(r"(?:\[[^\[\]]*+\] *+)++")
_REFWD: Final = re.compile(r"(?:re|fwd?) *+(?:\[[^\[\]]*+\] *+)?+:", re.IGNORECASE | re.ASCII)


class BaseSubject(NamedTuple):
    """`text` in the case it was written in; `is_reply`: a reply or forward by RFC 5256 §3, step 5 of REFERENCES."""

    text: str
    is_reply: bool


def base_subject(subject: str) -> BaseSubject:
    """Of a subject whose encoded words are decoded. Never raises."""
    text = _SPACES.sub(" ", subject)
    start, end, is_reply = 0, len(text), False
    while True:
        end, is_forward = _without_trailers(text, start, end)
        start, is_answer = _without_leaders(text, start, end)
        is_reply = is_reply or is_forward or is_answer
        # Step 6: "[fwd: …]" is taken off, and all begins anew inside.
        if end - start < 6 or text[start : start + 5].lower() != "[fwd:" or text[end - 1] != "]":
            return BaseSubject(text[start:end], is_reply)
        start, end, is_reply = start + 5, end - 1, True


def _without_trailers(text: str, start: int, end: int) -> tuple[int, bool]:
    """Step 2; whether there was a "(fwd)"."""
    is_forward = False
    while end > start:
        if text[end - 1] == " ":
            end -= 1
        elif end - start >= 5 and text[end - 5 : end].lower() == "(fwd)":
            end, is_forward = end - 5, True
        else:
            break
    return end, is_forward


def _without_leaders(text: str, start: int, end: int) -> tuple[int, bool]:
    """Steps 3 to 5; whether there was a "re:" or the like."""
    is_answer = False
    while start < end:
        if text[start] == " ":
            start += 1
            continue
        blobs = _BLOBS.match(text, start, end)
        behind = blobs.end() if blobs else start
        if refwd := _REFWD.match(text, behind, end):
            start, is_answer = refwd.end(), True
        elif blobs is None:
            break
        elif behind < end:
            start = behind
        else:  # the last blob is the subject, as nothing else would be left
            return text.rindex("[", start, end), is_answer
    return start, is_answer
