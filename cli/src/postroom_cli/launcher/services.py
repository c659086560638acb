"""The programs of a Postroom: the servers that it needs, and its five services."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from postroom_cli.launcher import postgres, seaweedfs
from postroom_cli.launcher.certificate import kept_certificate
from postroom_cli.launcher.config import HOST, Config, LaunchError, free_port, reserve
from postroom_cli.launcher.programs import Program, answers, listens
from postroom_cli.launcher.secrets import kept_secret

SERVICES: Final = {"store-api": 1, "smtp-out": 2, "smtp-in": 3, "pop3": 3, "imap": 3}


@dataclass(frozen=True, slots=True)
class Plan:
    """All programs, and what one needs to call the API."""

    programs: list[Program]
    api_url: str
    database_url: str
    admin_token: str
    service_token: str
    certificate: Path
    nats_url: str


def make_plan(config: Config) -> Plan:
    """Prepare what is kept in the data directory and say what to run. Raises LaunchError."""
    config.data.mkdir(parents=True, exist_ok=True)
    reserve(config.ports.values())
    programs: list[Program] = []
    common = dict(config.environ)
    database_url = config.database_url
    if not database_url:
        password = kept_secret(config.data / "postgres-password")
        database = postgres.prepare(config.data / "postgres", password, free_port())
        programs.append(database.program())
        database_url = database.url
    nats_url = config.nats_url
    if not nats_url:
        program, nats_url = _nats(config)
        programs.append(program)
    blob_url = config.blob_url or f"file://{config.data / 'blobs'}"
    if config.with_s3:
        key, secret = "postroom", kept_secret(config.data / "s3-secret")
        program, blob_url = seaweedfs.prepare(config.data, script("weed"), key, secret)
        programs.append(program)
        common |= {"S3_ACCESS_KEY": key, "S3_SECRET_KEY": secret}
    certificate, private_key = kept_certificate(config.data)
    admin_token = kept_secret(config.data / "admin-token")
    service_token = kept_secret(config.data / "service-token")
    api_url = f"http://{HOST}:{config.ports['POSTROOM_API_PORT']}"
    common |= {
        **{name: str(port) for name, port in config.ports.items()},
        "POSTROOM_BIND": HOST,
        "POSTROOM_HOSTNAME": config.environ.get("POSTROOM_HOSTNAME") or "localhost",
        "POSTROOM_STORE_URL": api_url,
        "POSTROOM_SERVICE_TOKEN": service_token,
        "NATS_URL": nats_url,
        "POSTROOM_TLS_CERT": str(certificate),
        "POSTROOM_TLS_KEY": str(private_key),
        "POSTROOM_PLAINTEXT_LOGIN_ON_LOOPBACK": "1",
        "PYTHONUNBUFFERED": "1",
    }
    only_store = {
        "DATABASE_URL": database_url,
        "BLOB_URL": blob_url,
        "POSTROOM_ADMIN_TOKEN": admin_token,
        "POSTROOM_MIGRATE_ON_START": "1",
    }
    for name, stage in SERVICES.items():
        programs.append(_service(name, stage, common | (only_store if name == "store-api" else {})))
    return Plan(programs, api_url, database_url, admin_token, service_token, certificate, nats_url)


def _service(name: str, stage: int, environ: Mapping[str, str]) -> Program:
    admin_port = free_port()
    return Program(
        name=name,
        argv=[sys.executable, "-m", name.replace("-", "_")],
        ready=answers(f"http://{HOST}:{admin_port}/readyz"),
        stage=stage,
        environ={**environ, "POSTROOM_ADMIN_PORT": str(admin_port)},
    )


def script(name: str) -> str:
    """The path of a program that came with a wheel. Raises LaunchError."""
    path = Path(sysconfig.get_path("scripts")) / name
    if not path.exists():
        raise LaunchError(f"{path} isn't there: run `make install`")
    return str(path)


def _nats(config: Config) -> tuple[Program, str]:
    port = free_port()
    arguments = ["-a", HOST, "-p", str(port), "-js", "-sd", str(config.data / "nats")]
    program = Program("nats", [script("nats-server"), *arguments], listens(port), stage=0)
    return program, f"nats://{HOST}:{port}"
