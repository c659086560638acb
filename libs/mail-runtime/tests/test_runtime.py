"""Settings, framing, loopback: small things that every process relies on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_runtime.contracts.framing import FramingError, pack_envelope, pack_stream, unpack_envelope, unpack_stream
from mail_runtime.loopback import is_loopback
from mail_runtime.settings import SettingsError, read_settings, setting


@dataclass(frozen=True)
class Example:
    token: str = setting("TOKEN", "the token", secret=True)
    port: int = setting("PORT", "the port", 80)
    is_on: bool = setting("ON", "a switch", False)


def test_settings_come_from_the_environment() -> None:
    assert read_settings(Example, {"TOKEN": "x", "PORT": "1", "ON": "yes"}) == Example("x", 1, True)
    assert read_settings(Example, {"TOKEN": "x", "PORT": ""}).port == 80


def test_secrets_come_from_files_and_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from file\n")
    settings = read_settings(Example, {"TOKEN_FILE": str(tmp_path / "token")})
    assert settings.token == "from file"
    assert "from file" not in repr(settings)


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({}, "TOKEN is not set: the token"),
        ({"TOKEN": "x", "PORT": "y"}, "PORT='y' is not a int"),
        ({"TOKEN": "x", "ON": "perhaps"}, "ON='perhaps' is not a yes or no"),
        ({"TOKEN_FILE": "/nowhere"}, "TOKEN_FILE: can't read /nowhere"),
    ],
)
def test_wrong_settings_say_what_to_change(environ: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        read_settings(Example, environ)


@given(st.binary(max_size=50), st.binary(max_size=200))
def test_envelopes_come_back(header: bytes, octets: bytes) -> None:
    assert unpack_envelope(pack_envelope(header, octets)) == (header, octets)


@given(st.lists(st.binary(max_size=50), max_size=10), st.integers(min_value=1, max_value=500))
def test_streams_come_back_and_cut_ones_are_noticed(blobs: list[bytes], cut: int) -> None:
    stream = b"".join(pack_stream(blobs))
    assert unpack_stream(stream) == blobs
    complete = {0, *(len(b"".join(pack_stream(blobs[:n]))) for n in range(len(blobs) + 1))}
    if cut < len(stream) and cut not in complete:
        with pytest.raises(FramingError):
            unpack_stream(stream[:cut])


def test_a_short_envelope_is_noticed() -> None:
    for body in (b"", b"\0\0\0", b"\0\0\0\x05abc"):
        with pytest.raises(FramingError):
            unpack_envelope(body)


def test_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "::1%lo")))
    assert not any(map(is_loopback, ("192.0.2.1", "::ffff:192.0.2.1", "", "localhost", "0.0.0.0")))
