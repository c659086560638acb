"""What storing bodies costs: a PUT alone and in packs, compression by level, encryption, ranges by frame."""

from __future__ import annotations

import base64
import io
import os
import resource
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import zstandard
from rich.console import Console
from rich.table import Table

from mail_testkit.messages import as_sent, paths
from mail_testkit.running import temporary_directory
from mail_testkit.s3 import KEY, SECRET, RunningS3, run_s3
from store_api.blobs import compression
from store_api.blobs.encoding import encode
from store_api.blobs.encryption import encrypt
from store_api.blobs.keyring import Keyring
from store_api.blobs.keys import new_key
from store_api.blobs.storage import Storage, open_storage

SIZES: Final = (8_192, 65_536, 262_144, 1_048_576, 4_194_304)
PACKS: Final = (1, 8, 32, 128)
LEVELS: Final = (-1, 1, 3, 6, 9)
FRAMES: Final = (65_536, 262_144, 1_048_576)
BODIES: Final = 256


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def process_cpu_s(process_id: int) -> float:
    """User and system time of another process."""
    with open(f"/proc/{process_id}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def each(work: Callable[[], object], times: int) -> tuple[float, float]:
    """(CPU of this process, time) of one call, in seconds."""
    work()
    before, began = cpu_s(), time.perf_counter()
    for _ in range(times):
        work()
    return (cpu_s() - before) / times, (time.perf_counter() - began) / times


def put(storage: Storage, octets: bytes) -> None:
    storage.write(new_key(), io.BytesIO(octets), len(octets))


def sizes(storages: Iterable[tuple[str, Storage]]) -> Table:
    """What is fixed in a PUT and what grows with the octets: where a body of its own is worth an object."""
    table = Table("storage", "octets", "CPU ms", "time ms", "CPU ms per MiB", title="One object")
    for name, storage in storages:
        for size in SIZES:
            octets = os.urandom(size)
            cpu, elapsed = each(lambda s=storage, o=octets: put(s, o), 20)  # type: ignore[misc]
            per_mib = cpu * 1048576 / size
            table.add_row(name, f"{size:,}", f"{cpu * 1e3:.2f}", f"{elapsed * 1e3:.1f}", f"{per_mib * 1e3:.2f}")
    return table


def packs(storage: Storage, server: RunningS3) -> Table:
    """CPU of the client and of the server for one body of 8 KiB, by how many share an object."""
    table = Table("bodies in an object", "client µs", "server µs", "PUTs per 1000", title="S3: bodies of 8 KiB")
    for number in PACKS:
        octets = os.urandom(8192 * number)
        before = process_cpu_s(server.process_id)
        cpu, _ = each(lambda o=octets: put(storage, o), BODIES // number)  # type: ignore[misc]
        server_cpu = (process_cpu_s(server.process_id) - before) / (BODIES + number)
        table.add_row(str(number), f"{cpu / number * 1e6:.0f}", f"{server_cpu * 1e6:.0f}", f"{1000 / number:.0f}")
    return table


def levels(messages: Sequence[bytes]) -> Table:
    """zstd over the corpus, each message alone."""
    table = Table("level", "left %", "µs to compress", "µs to read", title=f"zstd: {len(messages)} messages")
    whole = sum(map(len, messages))
    for level in LEVELS:
        frames = [b"".join(compression.compress(message, level)) for message in messages]
        cpu, _ = each(lambda n=level: [list(compression.compress(m, n)) for m in messages], 3)  # type: ignore[misc]
        read, _ = each(lambda f=frames: [compression.decompress(frame) for frame in f], 3)  # type: ignore[misc]
        share = sum(map(len, frames)) / whole * 100
        table.add_row(
            str(level), f"{share:.1f}", f"{cpu / len(messages) * 1e6:.0f}", f"{read / len(messages) * 1e6:.0f}"
        )
    return table


def encodings(messages: Sequence[bytes]) -> Table:
    """What one message costs between the request and the object."""
    table = Table("what", "µs per message", title="Encoding")
    keyring = Keyring({"k": bytes(32)})
    kinds: list[tuple[str, int, bool]] = [("sha256", 0, False), ("+ zstd 1", 1, False), ("+ AES-256-GCM", 1, True)]
    for name, level, is_encrypted in kinds:

        def work(level: int = level, is_encrypted: bool = is_encrypted) -> None:
            for message in messages:
                encode(message, level, keyring.new_data_key() if is_encrypted else None)

        table.add_row(name, f"{each(work, 3)[0] / len(messages) * 1e6:.0f}")
    return table


def frames() -> Table:
    """A base64 attachment of 8 MB in frames of a size, and what the shortest range costs."""
    octets = base64.encodebytes(os.urandom(6_000_000))
    table = Table("frame octets", "left %", "ms for a range of 1 octet", title="Ranges")
    compressor = zstandard.ZstdCompressor(level=1)
    decompressor = zstandard.ZstdDecompressor()
    for size in FRAMES:
        compressed = [compressor.compress(octets[at : at + size]) for at in range(0, len(octets), size)]
        share = sum(map(len, compressed)) / len(octets) * 100
        read, _ = each(lambda first=compressed[0]: decompressor.decompress(first), 30)  # type: ignore[misc]
        table.add_row(f"{size:,}", f"{share:.2f}", f"{read * 1e3:.2f}")
    return table


def main() -> None:
    console = Console()
    messages = [as_sent(path) for path in paths()]
    small = [message for message in messages if len(message) < compression.FRAME_OCTETS]
    console.print(levels(small), encodings(small), frames())
    key = os.urandom(32)
    large = os.urandom(8_000_000)
    cpu, _ = each(lambda: sum(map(len, encrypt([large], key))), 5)
    console.print(f"AES-256-GCM in chunks of 64 KiB: {len(large) / cpu / 1e6:.0f} MB/s")
    with temporary_directory() as directory, run_s3(directory) as server:
        s3 = open_storage(server.url, KEY, SECRET)
        s3.check()
        files = open_storage(f"file://{directory}/objects", "", "")
        files.check()
        console.print(sizes([("file", files), ("s3", s3)]), packs(s3, server))


if __name__ == "__main__":
    main()
