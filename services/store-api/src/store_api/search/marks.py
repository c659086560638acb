"""What the ids of words don't tell of a message, as numbers of 63 bits: `message_text.marks`.

Junctions and addresses of its body, negated those of its header; and for each field of FIELDS the words of its values,
and that it is there at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from itertools import product
from typing import Final
from uuid import UUID

from mail_proto.message.search_text import SearchText
from store_api.search.compounds import Address
from store_api.search.junctions import JUNCTION_BITS
from store_api.search.words import words

# Fields without a column of their own whose words many messages have somewhere in their headers. The numbers are in the
# index: none may change. A field that is added is found in messages indexed before only after they are indexed anew.
FIELDS: Final[Mapping[str, int]] = {
    "list-id": 1,
    "list-unsubscribe": 2,
    "list-post": 3,
    "list-archive": 4,
    "reply-to": 5,
    "sender": 6,
    "return-path": 7,
    "delivered-to": 8,
    "x-original-to": 9,
    "envelope-to": 10,
    "x-mailer": 11,
    "user-agent": 12,
    "organization": 13,
    "content-type": 14,
    "precedence": 15,
    "auto-submitted": 16,
    "mailing-list": 17,
    "x-mailing-list": 18,
    "x-beenthere": 19,
    "errors-to": 20,
    "importance": 21,
    "priority": 22,
    "x-priority": 23,
    "x-spam-flag": 24,
    "x-spam-status": 25,
    "x-spam-level": 26,
    "x-loop": 27,
    "keywords": 28,
    "comments": 29,
}
# Under it the id of a word; beyond it a bit that junctions don't have.
_FIELD_SHIFT: Final = 56
_FIELD_BIT: Final = 1 << 62
# Numbers of fields are smaller than its: under it two ids, before the @ and from it on.
_ADDRESS_BIT: Final = 1 << 61
_HALF_BITS: Final = 30
_LARGE_BIT: Final = 1 << 60
# Junctions are the same in all accounts: bits of the account's id keep those of others out of the way. Few accounts
# share them, and what is found is always compared with the account's messages.
_ACCOUNT_BITS: Final = 26

# A word of a field, or "" for the field itself.
FieldWord = tuple[int, str]


def of_field(field: int, word_id: int) -> int:
    """The mark of a word in a field; of the field itself with 0. Ids of words belong to one account."""
    return _FIELD_BIT | field << _FIELD_SHIFT | word_id


def of_junctions(account_id: UUID, numbers: Iterable[int]) -> list[int]:
    """The marks of junctions in an account's texts."""
    own = (account_id.int & (1 << _ACCOUNT_BITS) - 1) << JUNCTION_BITS
    return [own | number for number in numbers]


def of_addresses(before: Iterable[int], behind: Iterable[int]) -> list[int]:
    """The marks of addresses of which either of these is before the @, and either of those begins there."""
    return [_address(one, other) for one, other in product(before, behind)]


def _address(before: int, behind: int) -> int:
    number = before << _HALF_BITS | behind
    if max(before, behind) >> _HALF_BITS:
        # More than a billion words: a number that is unlikely to be another's.
        number = int.from_bytes(sha256(b"%d %d" % (before, behind)).digest()[:8], "little") | _LARGE_BIT
    return _FIELD_BIT | _ADDRESS_BIT | number & (1 << 2 * _HALF_BITS + 1) - 1


def field_words(text: SearchText) -> set[FieldWord]:
    """The words of FIELDS in a header."""
    return set(_field_words(text.header))


def _field_words(header: str) -> Iterator[FieldWord]:
    for line in header.split("\n"):
        name, colon, value = line.partition(": ")
        if colon and (field := FIELDS.get(name)) is not None:
            yield field, ""
            yield from ((field, word) for word in words(value))


def marks(
    account_id: UUID,
    in_header: Iterable[int],
    in_body: Iterable[int],
    in_fields: Iterable[FieldWord],
    addresses: tuple[Iterable[Address], Iterable[Address]],
    ids: Mapping[str, int],
) -> list[int]:
    """All marks of a message, ascending. `addresses`: of the header, and of the body."""
    header, body = ([_address(ids[before], ids[behind]) for before, behind in half] for half in addresses)
    header += of_junctions(account_id, in_header)
    body += of_junctions(account_id, in_body)
    fields = (of_field(field, ids[word] if word else 0) for field, word in in_fields)
    return sorted([*body, *(-mark for mark in header), *fields])
