"""What the fuzzers of sessions share: spoilt inputs, cuts, and the loop that says which seed made a failure."""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence

Check = Callable[[bytes, random.Random], None]


def spoilt(pool: Sequence[bytes], words: Sequence[bytes], chance: random.Random) -> bytes:
    """One of the pool after a few changes: octets put in or taken out, others of the pool, long runs, `words`."""
    octets = bytearray(chance.choice(pool))
    for _ in range(chance.randrange(1, 10)):
        at = chance.randrange(len(octets) + 1)
        match chance.randrange(5):
            case 0:
                octets[at:at] = chance.randbytes(chance.randrange(1, 6))
            case 1:
                del octets[at : at + chance.randrange(1, 20)]
            case 2:
                other = chance.choice(pool)
                octets[at:at] = other[: chance.choice((len(other), chance.randrange(1, 400)))]
            case 3:
                octets[at:at] = b"x" * chance.choice((240, 256, 1024, 8192, 70_000))
            case _:
                octets[at:at] = chance.choice(words)
    return bytes(octets)


def cut(octets: bytes, chance: random.Random) -> list[bytes]:
    """The same octets in up to twelve pieces; some may be empty."""
    borders = sorted(chance.randrange(len(octets) + 1) for _ in range(chance.randrange(12)))
    return [octets[start:end] for start, end in zip([0, *borders], [*borders, len(octets)], strict=True)]


def fuzz(pool: Sequence[bytes], words: Sequence[bytes], check: Check, seconds: float, seed: int) -> int:
    """Number of inputs tried. Raises what goes wrong, with the input in a note."""
    until, tried = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        chance = random.Random(seed + tried)
        octets = spoilt(pool, words, chance)
        try:
            check(octets, chance)
        except BaseException as error:
            error.add_note(f"seed {seed + tried}: {octets[:2000]!r}")
            raise
        tried += 1
    return tried


def main(name: str, about: str | None, run: Callable[[float, int], int]) -> None:
    """The command line of a fuzzer; `run` takes seconds and a seed."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 40))
    arguments = parser.parse_args()
    print(f"{name}: {run(arguments.seconds, arguments.seed)} inputs from seed {arguments.seed}")
