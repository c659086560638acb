"""What reading a message costs in CPU time: prints figures, tests nothing.

Messages are those of the corpus (or the repository's own), as they are sent; figures are per 8 KB of them, the best of
several rounds. The hostile messages have 10 MB each.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Iterable

from mail_proto.message.body_structure import describe, render_body
from mail_proto.message.leaves import leaves
from mail_proto.message.preview import preview
from mail_proto.message.structure import scan
from mail_proto.message.summary import summarize
from mail_proto.message.text import searchable
from mail_testkit import messages
from mail_testkit.bombs import BOMBS

UNIT_OCTETS = 8_192
BOMB_OCTETS = 10_000_000


def best(call: Callable[[], object], rounds: int) -> float:
    """CPU seconds of the fastest of several rounds."""
    times = []
    for _ in range(rounds):
        started = time.process_time()
        call()
        times.append(time.process_time() - started)
    return min(times)


def each(letters: Iterable[bytes], read: Callable[[bytes], object]) -> Callable[[], object]:
    return lambda: [read(letter) for letter in letters] and None


def steps(letters: list[bytes]) -> dict[str, Callable[[], object]]:
    """What is measured, by name; the first is all that ingest does."""
    scanned = [(letter, scan(letter)) for letter in letters]
    described = [(letter, describe(letter, root)) for letter, root in scanned]
    found = [(letter, leaves(parts)) for letter, parts in described]
    return {
        "summarize": each(letters, summarize),
        "  scan": each(letters, scan),
        "  headers of parts": lambda: [describe(letter, root) for letter, root in scanned] and None,
        "  BODY, BODYSTRUCTURE": lambda: [render_body(parts) for _, parts in described] and None,
        "  preview": lambda: [preview(letter, parts) for letter, parts in found] and None,
        "text for search": lambda: [searchable(letter, root) for letter, root in scanned] and None,
    }


def hostile(bomb: bytes) -> tuple[float, float]:
    """Seconds to summarize it, and to get its text."""
    root = scan(bomb)
    return best(lambda: summarize(bomb), 1), best(lambda: searchable(bomb, root), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    letters = [messages.as_sent(path) for path in messages.paths()]
    octets = sum(map(len, letters))
    print(f"Python {platform.python_version()}, {len(letters)} messages, mean {octets // len(letters)} octets")
    for name, call in steps(letters).items():
        milliseconds = best(call, arguments.rounds) * 1000
        of_unit, of_message = milliseconds / octets * UNIT_OCTETS, milliseconds / len(letters)
        print(f"{name:<24} {of_unit:7.3f} ms/8 KB {of_message:7.3f} ms/message")
    print("\nhostile messages of 10 MB: s to summarize, s for the text")
    for name, make in BOMBS.items():
        print(f"{name:<40} " + " ".join(f"{seconds:6.2f}" for seconds in hostile(make(BOMB_OCTETS))))


if __name__ == "__main__":
    main()
