"""Channel bindings of real TLS connections."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from pathlib import Path

import pytest

from mail_runtime.channel_binding import channel_bindings, server_end_point
from mail_runtime.tls import server_context
from postroom_cli.launcher.certificate import kept_certificate


async def _bindings(certificate: Path, key: Path, version: ssl.TLSVersion) -> tuple[dict[str, bytes], ssl.SSLObject]:
    """The server's bindings and the client's side of one connection."""
    found: asyncio.Future[dict[str, bytes]] = asyncio.get_running_loop().create_future()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.set_result(channel_bindings(writer.get_extra_info("ssl_object")))
        await reader.read()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=server_context(str(certificate), str(key)))
    trusting = ssl.create_default_context(cafile=str(certificate))
    trusting.check_hostname = False
    trusting.maximum_version = version
    async with server:
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
        bindings = await found
        client: ssl.SSLObject = writer.get_extra_info("ssl_object")
        writer.close()
        await writer.wait_closed()
    return bindings, client


async def test_tls_1_2_has_two(tmp_path: Path) -> None:
    certificate, key = kept_certificate(tmp_path)
    bindings, client = await _bindings(certificate, key, ssl.TLSVersion.TLSv1_2)
    der = client.getpeercert(binary_form=True)
    assert der is not None
    assert bindings == {
        "tls-server-end-point": hashlib.sha256(der).digest(),
        "tls-unique": client.get_channel_binding("tls-unique"),
    }


async def test_tls_1_3_has_none_that_clients_expect(tmp_path: Path) -> None:
    bindings, client = await _bindings(*kept_certificate(tmp_path), ssl.TLSVersion.TLSv1_3)
    assert client.version() == "TLSv1.3"
    assert bindings == {}


def test_without_tls_there_is_nothing_to_bind_to() -> None:
    assert server_end_point("") == b""
    assert channel_bindings(None) == {}


def test_a_file_without_certificate(tmp_path: Path) -> None:
    (tmp_path / "tls.crt").write_text("nothing")
    with pytest.raises(ValueError, match="PEM"):
        server_end_point(str(tmp_path / "tls.crt"))
