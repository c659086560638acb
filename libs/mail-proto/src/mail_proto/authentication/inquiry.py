"""Questions to the DNS and their answers, between the checks, which do no I/O, and who drives them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

T = TypeVar("T")

RecordKind = Literal["TXT", "A", "AAAA", "MX", "PTR"]


@dataclass(frozen=True, slots=True)
class Question:
    """`name` is a domain name without the last dot, in ASCII."""

    name: str
    kind: RecordKind


@dataclass(frozen=True, slots=True)
class Answer:
    """Records as text; none: the name or records of that kind don't exist. `failed`: nobody can tell now.

    TXT: the strings of each record joined, octets as Latin-1. A, AAAA: addresses. MX: host names by preference.
    PTR: names. Names have no last dot.
    """

    records: tuple[str, ...] = ()
    failed: bool = False


# Yields questions, is sent their answers, returns the result.
Inquiry: TypeAlias = Generator[Question, Answer, T]


def concluded(inquiry: Inquiry[T], answer: Callable[[Question], Answer]) -> T:
    """Drive an inquiry to its end with answers that are at hand."""
    try:
        question = next(inquiry)
        while True:
            question = inquiry.send(answer(question))
    except StopIteration as end:
        result: T = end.value
        return result
