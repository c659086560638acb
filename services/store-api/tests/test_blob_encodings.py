"""What is stored of a body gives it back, whole and in any range, however it was encoded."""

from __future__ import annotations

import base64
import os
import random
import subprocess
import sys
import tempfile
from typing import Any
from uuid import UUID

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from mail_runtime.contracts.errors import Unavailable
from store_api.blobs.compression import FRAME_OCTETS, compress, seek_table_length
from store_api.blobs.decoding import MemorySource, Source, open_body
from store_api.blobs.encoding import encode, encode_to_file
from store_api.blobs.encryption import CHUNK_OCTETS, TAG_OCTETS, decrypted_length, encrypt, encrypted_length
from store_api.blobs.faults import Damaged
from store_api.blobs.keyring import Keyring
from store_api.blobs.places import Place

ID = UUID(int=7)
KEYRING = Keyring.parse("k1:" + base64.b64encode(bytes(range(32))).decode())
PLAIN = Keyring({})
SIZES = [
    0,
    1,
    CHUNK_OCTETS - 1,
    CHUNK_OCTETS,
    CHUNK_OCTETS + 1,
    FRAME_OCTETS - 1,
    FRAME_OCTETS,
    FRAME_OCTETS + 1,
    3 * FRAME_OCTETS + 12345,
]


def body(length: int, *, compressible: bool) -> bytes:
    random_octets = random.Random(length).randbytes(length)
    return base64.b64encode(random_octets)[:length] if compressible else random_octets


def stored(octets: bytes, level: int, keyring: Keyring, *, in_file: bool) -> tuple[bytes, Place]:
    key = keyring.new_data_key()
    if in_file:
        encoded = encode_to_file(octets, level, key, None)
        with encoded.file:
            kept = encoded.file.read()
        assert len(kept) == encoded.length
        name, digest = encoded.encoding, encoded.sha256
    else:
        small = encode(octets, level, key)
        kept, name, digest = small.octets, small.encoding, small.sha256
    wrapped = (None, None) if key is None else (key.wrapped, key.key_id)
    return kept, Place(ID, "key", 0, len(octets), digest, len(kept), name, *wrapped)


def opened(kept: bytes, place: Place, keyring: Keyring) -> Source:
    return open_body(MemorySource(memoryview(kept)), place, keyring)


@settings(max_examples=150, deadline=None)
@given(
    length=st.sampled_from(SIZES),
    compressible=st.booleans(),
    level=st.sampled_from([0, 1, 3]),
    keyring=st.sampled_from([PLAIN, KEYRING]),
    in_file=st.booleans(),
    ends=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=5),
)
def test_ranges_equal_slices(
    length: int, compressible: bool, level: int, keyring: Keyring, in_file: bool, ends: list[tuple[float, float]]
) -> None:
    octets = body(length, compressible=compressible)
    kept, place = stored(octets, level, keyring, in_file=in_file)
    source = opened(kept, place, keyring)
    assert source.length == length
    assert source.read(0, length) == octets
    for a, b in ends:
        start, end = sorted((round(a * length), round(b * length)))
        assert source.read(start, end) == octets[start:end]


@pytest.mark.parametrize("edge", [0, CHUNK_OCTETS, FRAME_OCTETS, 3 * FRAME_OCTETS])
@pytest.mark.parametrize("keyring", [PLAIN, KEYRING])
def test_ranges_at_the_edges_of_chunks_and_frames(edge: int, keyring: Keyring) -> None:
    octets = body(SIZES[-1], compressible=True)
    kept, place = stored(octets, 1, keyring, in_file=True)
    source = opened(kept, place, keyring)
    for start in (edge - 1, edge, edge + 1):
        for end in (start, start + 1, start + CHUNK_OCTETS, start + FRAME_OCTETS, len(octets)):
            if 0 <= start <= end <= len(octets):
                assert source.read(start, end) == octets[start:end]


def test_only_what_saves_a_tenth_is_compressed() -> None:
    for in_file in (False, True):
        _, place = stored(body(500_000, compressible=False), 1, PLAIN, in_file=in_file)
        assert (place.encoding, place.stored_octets) == ("identity", 500_000)
        kept, place = stored(body(500_000, compressible=True), 1, PLAIN, in_file=in_file)
        assert place.encoding == "zstd"
        assert len(kept) < 400_000


def test_a_range_reads_only_what_it_needs() -> None:
    octets = body(20 * FRAME_OCTETS, compressible=True)
    kept, place = stored(octets, 1, KEYRING, in_file=True)

    class Counting(MemorySource):
        octets_read = 0

        def read(self, start: int, end: int) -> bytes:
            self.octets_read += end - start
            return super().read(start, end)

    inner = Counting(memoryview(kept))
    source = open_body(inner, place, KEYRING)
    assert source.read(10 * FRAME_OCTETS, 10 * FRAME_OCTETS + 1000) == octets[10 * FRAME_OCTETS :][:1000]
    # A frame in its chunks, and the seek table in its one or two.
    assert inner.octets_read < FRAME_OCTETS + 4 * CHUNK_OCTETS


def test_any_zstd_tool_reads_what_was_compressed() -> None:
    octets = body(3 * FRAME_OCTETS + 5, compressible=True)
    kept = b"".join(compress(octets, 1))
    with zstandard.ZstdDecompressor().stream_reader(kept, read_across_frames=True) as reader:
        assert reader.read() == octets
    assert kept[-seek_table_length(len(octets)) :][:4] == b"\x5e\x2a\x4d\x18"
    assert kept[-4:] == b"\xb1\xea\x92\x8f"


@given(st.integers(0, 10 * CHUNK_OCTETS))
def test_lengths_of_encryption_are_inverse(length: int) -> None:
    assert decrypted_length(encrypted_length(length)) == length


@settings(max_examples=60, deadline=None)
@given(data=st.data(), length=st.sampled_from([0, 1, 1000, CHUNK_OCTETS, 3 * CHUNK_OCTETS + 5]))
def test_changed_cut_or_swapped_octets_are_noticed(data: Any, length: int) -> None:
    octets = body(length, compressible=False)
    kept, place = stored(octets, 0, KEYRING, in_file=False)
    changed = bytearray(kept)
    changed[data.draw(st.integers(0, len(kept) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    cut = kept[: data.draw(st.integers(0, len(kept) - 1))]
    step = CHUNK_OCTETS + TAG_OCTETS
    for other in (bytes(changed), cut, kept[step : 2 * step] + kept[:step] + kept[2 * step :]):
        if other != kept:
            with pytest.raises(Damaged):
                opened(other, place, KEYRING).read(0, length)


def test_a_body_cut_at_a_chunk_is_no_shorter_body() -> None:
    octets = body(3 * CHUNK_OCTETS, compressible=False)
    kept, place = stored(octets, 0, KEYRING, in_file=False)
    shorter = Place(ID, "key", 0, CHUNK_OCTETS, place.sha256, encrypted_length(CHUNK_OCTETS), "identity",
                    place.data_key, place.key_id)  # fmt: skip
    with pytest.raises(Damaged):
        opened(kept[: encrypted_length(CHUNK_OCTETS)], shorter, KEYRING).read(0, CHUNK_OCTETS)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_frames_are_noticed_or_harmless(data: Any) -> None:
    octets = body(2 * FRAME_OCTETS + 5, compressible=True)
    kept, place = stored(octets, 1, PLAIN, in_file=True)
    changed = bytearray(kept)
    changed[data.draw(st.integers(0, len(kept) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = opened(bytes(changed), place, PLAIN).read(0, len(octets))
    except Damaged:
        return
    assert len(found) == len(octets)  # the checksum of the whole is for the rest


def test_encryption_takes_pieces_of_any_size() -> None:
    octets = os.urandom(2 * CHUNK_OCTETS + 100)
    key = os.urandom(32)
    whole = b"".join(encrypt([octets], key))
    assert len(whole) == encrypted_length(len(octets))
    for size in (1000, CHUNK_OCTETS, 200_000):
        assert b"".join(encrypt([octets[at : at + size] for at in range(0, len(octets), size)], key)) == whole


def test_equal_bodies_have_keys_of_their_own() -> None:
    first, one = stored(b"the same", 0, KEYRING, in_file=False)
    second, other = stored(b"the same", 0, KEYRING, in_file=False)
    assert first != second
    assert one.data_key != other.data_key


def key(number: int) -> str:
    return base64.b64encode(bytes([number]) * 32).decode()


def test_keys_rotate() -> None:
    old = Keyring.parse(f"2023:{key(1)}")
    kept, place = stored(b"octets", 0, old, in_file=False)
    both = Keyring.parse(f"2024:{key(2)}\n2023:{key(1)}\n")
    assert both.current_id == "2024"
    assert opened(kept, place, both).read(0, 6) == b"octets"
    assert place.data_key is not None
    renewed = both.rewrap(place.data_key, "2023")
    assert renewed.key_id == "2024"
    new = Keyring.parse(f"2024:{key(2)}")
    after = Place(ID, "key", 0, 6, place.sha256, place.stored_length, place.encoding, renewed.wrapped, renewed.key_id)
    assert opened(kept, after, new).read(0, 6) == b"octets"
    with pytest.raises(Unavailable, match="2023"):
        opened(kept, place, new)
    with pytest.raises(Unavailable, match="isn't the one"):
        opened(kept, place, Keyring.parse(f"2023:{key(3)}"))


@pytest.mark.parametrize("text", ["abc", f"a:{key(1)[:-4]}", f":{key(1)}", f"a:{key(1)},a:{key(2)}", f"a b:{key(1)}"])
def test_wrong_keys_are_refused_without_showing_them(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        Keyring.parse(text)
    assert key(1)[:10] not in str(caught.value)


def test_a_large_body_is_encoded_with_little_memory() -> None:
    """50 MB in a process of its own, whose peak is compared with that of one that only maps the file."""
    program = """
import mmap, resource, sys, tempfile
from store_api.blobs.encoding import encode_to_file
from store_api.blobs.keyring import Keyring
file = tempfile.TemporaryFile()
for _ in range(50): file.write(bytes(range(256)) * 4096)
file.flush()
octets = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
sum(octets[at] for at in range(0, len(octets), 4096))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
encoded = encode_to_file(octets, 1, Keyring({"k": bytes(32)}).new_data_key(), None)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) < 16, done.stdout


def test_temporary_files_are_gone_with_their_use() -> None:
    with tempfile.TemporaryDirectory() as directory:
        encoded = encode_to_file(body(600_000, compressible=True), 1, None, directory)
        assert os.listdir(directory) == []
        encoded.file.close()
