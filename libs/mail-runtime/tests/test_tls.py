"""Certificates that are renewed while a server runs."""

from __future__ import annotations

import asyncio
import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mail_runtime.channel_binding import server_end_point
from mail_runtime.tls import EXPIRES, reloading, server_context
from postroom_cli.launcher.certificate import kept_certificate

CHECK_S = 0.02
LIMIT_S = 20.0


def _put_in_place(renewed: Path, used: Path) -> None:
    """As cert-manager and ACME clients do: another file under the same name."""
    for name in ("tls.crt", "tls.key"):
        os.replace(renewed / name, used / name)


async def _seen(port: int) -> bytes:
    """The certificate that a client is shown."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
    found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return found


async def _hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def test_a_renewed_certificate_is_shown_and_open_connections_go_on(tmp_path: Path) -> None:
    used, renewed = tmp_path / "used", tmp_path / "renewed"
    used.mkdir()
    renewed.mkdir()
    kept_certificate(renewed)
    context = server_context(*map(str, kept_certificate(used)))
    assert context is not None
    expected = ssl.PEM_cert_to_DER_cert((renewed / "tls.crt").read_text())
    server = await asyncio.start_server(_echo, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    async with asyncio.timeout(LIMIT_S), server, reloading(context, CHECK_S):
        trusting = ssl.create_default_context(cafile=str(used / "tls.crt"))
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname="localhost")
        assert await _seen(port) != expected
        _put_in_place(renewed, used)
        while await _seen(port) != expected:
            pass
        writer.write(b"still here\n")
        assert await reader.readline() == b"still here\n"
        writer.close()
    assert context.end_point == server_end_point(str(used / "tls.crt"))


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line)
    writer.close()


async def test_half_of_a_new_pair_changes_nothing(tmp_path: Path) -> None:
    used, renewed = tmp_path / "used", tmp_path / "renewed"
    used.mkdir()
    renewed.mkdir()
    kept_certificate(renewed)
    context = server_context(*map(str, kept_certificate(used)))
    assert context is not None
    before = context.end_point
    os.replace(renewed / "tls.crt", used / "tls.crt")
    with pytest.raises(ssl.SSLError):
        context.load()
    assert context.end_point == before
    server = await asyncio.start_server(_hang_up, "127.0.0.1", 0, ssl=context)
    async with asyncio.timeout(LIMIT_S), server:
        shown = await _seen(server.sockets[0].getsockname()[1])
        assert shown != ssl.PEM_cert_to_DER_cert((used / "tls.crt").read_text())
    os.replace(renewed / "tls.key", used / "tls.key")
    context.load()
    assert context.end_point == server_end_point(str(used / "tls.crt"))


def test_the_metric_says_when_it_expires(tmp_path: Path) -> None:
    certificate, key = kept_certificate(tmp_path)
    server_context(str(certificate), str(key))
    found = next(iter(EXPIRES.collect())).samples[0].value

    assert timedelta(days=364) < datetime.fromtimestamp(found, UTC) - datetime.now(UTC) < timedelta(days=366)
