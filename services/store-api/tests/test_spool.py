"""Bodies of requests, however they are cut on their way, small and large."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mail_runtime.contracts.errors import Unavailable
from mail_runtime.contracts.framing import FramingError, pack_envelope
from store_api.api.internal.envelope import Envelope
from store_api.api.spool import GATHERED_OCTETS, SPOOLED_OCTETS, Spool
from store_api.blobs import Octets


async def received(body: bytes, cuts: list[int], expected: int) -> tuple[bytes, Octets]:
    envelope = Envelope(expected, None)
    try:
        for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
            await envelope.add(body[start:end])
        assert envelope.length == len(body)
        return envelope.ended()
    finally:
        envelope.close()


@settings(max_examples=100, deadline=None)
@given(
    header=st.binary(max_size=20),
    message=st.binary(max_size=50),
    cuts=st.lists(st.floats(0, 1), max_size=8),
    is_large=st.booleans(),
)
async def test_wherever_it_is_cut_it_is_the_same(
    header: bytes, message: bytes, cuts: list[float], is_large: bool
) -> None:
    body = pack_envelope(header, message)
    places = sorted(round(cut * len(body)) for cut in cuts)
    got, octets = await received(body, places, SPOOLED_OCTETS + 1 if is_large else len(body))
    assert (got, bytes(octets)) == (header, message)
    assert isinstance(octets, mmap.mmap) == (is_large and message != b"")


async def test_a_large_message_is_a_file_and_outlives_its_spool() -> None:
    message = os.urandom(SPOOLED_OCTETS + 3 * GATHERED_OCTETS + 17)
    body = pack_envelope(b"header", message)
    header, octets = await received(body, list(range(0, len(body), 65_536))[1:], len(body))
    assert header == b"header"
    assert isinstance(octets, mmap.mmap)
    assert bytes(octets) == message


@pytest.mark.parametrize("body", [b"", b"\0\0\0", b"\0\0\0\5head"])
async def test_a_body_that_ends_in_its_header(body: bytes) -> None:
    with pytest.raises(FramingError):
        await received(body, [], 10)


async def test_a_full_disk_is_no_fault_of_the_client(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no room"):
        Spool(SPOOLED_OCTETS + 1, str(tmp_path / "missing"))
    spool = Spool(SPOOLED_OCTETS + 1, None)
    with open("/dev/full", "wb", buffering=0) as full:  # noqa: ASYNC230 - a device that is always full
        spool._file, file = full, spool._file
        with pytest.raises(Unavailable, match="no room"):
            await spool.add(bytes(GATHERED_OCTETS))
        spool._file = file
    spool.close()


async def test_small_bodies_stay_in_memory() -> None:
    spool = Spool(10, "/nowhere")
    await spool.add(b"01234")
    await spool.add(b"56789")
    assert spool.ended() == b"0123456789"
    spool.close()
