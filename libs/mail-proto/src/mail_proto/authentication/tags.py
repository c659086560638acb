"""Lists of tags, as DKIM, ARC and DMARC write them (RFC 6376 §3.2).

tag-list  = tag-spec *( ";" tag-spec ) [ ";" ]
tag-spec  = [FWS] tag-name [FWS] "=" [FWS] tag-value [FWS]
tag-name  = ALPHA *( ALPHA / DIGIT / "_" )
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

# Ours: far more than any signature needs.
MAX_TAGS: Final = 100
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_SPACE: Final = re.compile(r"[ \t\r\n]+")
_WHITE: Final = " \t\r\n"


class TagFault(Exception):
    """The text is no list of tags, or a tag lacks or is wrong."""


def parse_tags(text: str) -> dict[str, str]:
    """Values by name, both as written, without white space around. Raises TagFault: syntax, or a tag twice."""
    tags: dict[str, str] = {}
    specs = text.strip(_WHITE).removesuffix(";").split(";")
    if len(specs) > MAX_TAGS:
        raise TagFault("too many tags")
    for spec in specs:
        name, equals, value = spec.partition("=")
        name = name.strip(_WHITE)
        if not equals or _NAME.fullmatch(name) is None:
            raise TagFault("no tag-list")
        if name in tags:
            raise TagFault(f"{name}= twice")
        tags[name] = value.strip(_WHITE)
    return tags


def required(tags: dict[str, str], name: str) -> str:
    """Raises TagFault: the tag lacks or is empty."""
    value = tags.get(name, "")
    if not value:
        raise TagFault(f"no {name}=")
    return value


def number(tags: dict[str, str], name: str) -> int | None:
    """An unsigned decimal integer of at most 76 digits; None: the tag isn't there. Raises TagFault."""
    value = tags.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 76):
        raise TagFault(f"{name}= is no number")
    return int(value)


def base64_value(text: str) -> bytes:
    """base64string with white space anywhere. Raises TagFault."""
    try:
        return base64.b64decode(_SPACE.sub("", text).encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise TagFault("no base64") from error


def colon_list(text: str) -> list[str]:
    """Items of a list with colons, in lower case."""
    return [item.strip(_WHITE).lower() for item in text.split(":")]
