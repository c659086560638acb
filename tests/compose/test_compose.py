"""docker-compose.yml: what each service may and has, and profiles whose configuration their own programs accept."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name for name, service in SERVICES.items() if "build" in service}
# Kept as their images are: they start as root to give files to a user of their own.
SERVERS = {"postgres", "nats", "s3", "clamav"}
PROFILES = {
    "rspamd": {"rspamd"},
    "clamav": {"clamav"},
    "edge": {"edge", "certificates"},
    "observability": {"prometheus", "loki", "tempo", "alloy", "grafana"},
}
WORKERS_OF_LOGS = {"loki", "tempo", "alloy"}  # their images have no shell and no client to ask with
TIMEOUT_S = 60


def program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} isn't installed")
    return path


def run(*command: str | Path, **environ: str) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_profiles_have_what_they_are_said_to_have() -> None:
    found: dict[str, set[str]] = {}
    for name, service in SERVICES.items():
        for profile in service.get("profiles", []):
            found.setdefault(profile, set()).add(name)
    assert found == PROFILES
    assert {"store-api", "smtp-in", "smtp-out", "pop3", "imap", "balancer"} == OURS


@pytest.mark.parametrize("name", SERVICES)
def test_each_has_limits(name: str) -> None:
    service = SERVICES[name]
    assert service["mem_limit"]
    assert service["restart"] == "unless-stopped"
    assert not service.get("privileged")
    assert "healthcheck" in service or name in OURS | WORKERS_OF_LOGS
    if name not in SERVERS:
        assert service["read_only"] is True
    if name not in {"postgres", "nats", "s3"}:
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]


@pytest.mark.parametrize("name", sorted(OURS))
def test_ours_may_nothing_beyond_their_work(name: str) -> None:
    service = SERVICES[name]
    assert not service.get("cap_add")
    if name == "balancer":  # it holds the ports: replaced rarely, and quickly
        assert service["image"] == "postroom/balancer:${POSTROOM_BALANCER_TAG:-1}"
        assert service["stop_grace_period"] == "3s"
    else:
        assert service["image"] == f"postroom/{name}:${{POSTROOM_TAG:-0.1.0}}"
        assert service["stop_grace_period"] == "15s"


@pytest.mark.parametrize("name", sorted(set(SERVICES) - OURS))
def test_images_have_a_version(name: str) -> None:
    tag = SERVICES[name]["image"].rpartition(":")[2]
    # SeaweedFS publishes a version a week, of which only the newest is looked after.
    assert re.match(r"v?\d", tag) or name == "s3"


@pytest.mark.parametrize("name", SERVICES)
def test_no_secret_in_the_environment(name: str) -> None:
    for variable, value in (SERVICES[name].get("environment") or {}).items():
        if re.search(r"TOKEN|PASSWORD|SECRET|DATABASE_URL|_KEY", variable):
            assert variable.endswith("FILE") or str(value).startswith("/run/"), variable
            assert str(value).startswith(("/run/secrets/", "/run/tls/"))


def test_what_is_published_is_on_loopback_unless_one_wants_otherwise() -> None:
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            host = port.partition(":")[0] if port.startswith("127") else port
            # edge is there to be reached, and ACME comes by port 80.
            assert host.startswith(("127.0.0.1", "${POSTROOM_PUBLISH:-127.0.0.1}")) or name == "edge", (name, port)


def test_files_that_are_mounted_are_there() -> None:
    for name, service in SERVICES.items():
        for mount in service.get("volumes", []):
            source = mount["source"] if isinstance(mount, dict) else mount.partition(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).exists(), (name, source)
            elif source.isidentifier():
                assert source in COMPOSE["volumes"], (name, source)


def test_only_the_shipper_of_logs_has_the_socket_of_docker() -> None:
    with_socket = {name for name, service in SERVICES.items() if "docker.sock" in str(service.get("volumes"))}
    assert with_socket == {"alloy"}


# Profile edge


class Caddy:
    """Its data folder, as far as certificates go."""

    def __init__(self, folder: Path) -> None:
        self.data, self.target = folder / "data", folder / "tls"
        self.target.mkdir()

    def put(self, authority: str, certificate: str, key: str, age_s: int = 0) -> None:
        folder = self.data / "caddy" / "certificates" / authority / "mail.example.test"
        folder.mkdir(parents=True, exist_ok=True)
        for suffix, text in (("crt", certificate), ("key", key)):
            path = folder / f"mail.example.test.{suffix}"
            path.write_text(text)
            path.chmod(0o600)
            at = path.stat().st_mtime - age_s
            os.utime(path, (at, at))

    def share(self) -> tuple[str, str]:
        run(ROOT / "deploy/compose/edge/certificates.sh", self.data, "mail.example.test", self.target, "once")
        return tuple((self.target / name).read_text() for name in ("tls.crt", "tls.key"))


@pytest.fixture
def caddy(tmp_path: Path) -> Caddy:
    return Caddy(tmp_path)


def test_the_newest_certificate_is_shared(caddy: Caddy) -> None:
    caddy.put("acme-old", "old certificate", "old key", age_s=100)
    caddy.put("acme-v02.api.letsencrypt.org-directory", "certificate", "key")
    assert caddy.share() == ("certificate", "key")
    for name in ("tls.crt", "tls.key"):
        assert (caddy.target / name).stat().st_mode & 0o777 == 0o644, "the services have users of their own"
    assert sorted(path.name for path in caddy.target.iterdir()) == ["tls.crt", "tls.key"]


def test_what_is_the_same_isnt_written_again(caddy: Caddy) -> None:
    caddy.put("acme", "certificate", "key")
    caddy.share()
    before = [(caddy.target / name).stat().st_ino for name in ("tls.crt", "tls.key")]
    assert caddy.share() == ("certificate", "key")
    assert [(caddy.target / name).stat().st_ino for name in ("tls.crt", "tls.key")] == before
    caddy.put("acme", "renewed", "another key")
    assert caddy.share() == ("renewed", "another key")


def test_half_a_pair_changes_nothing(caddy: Caddy) -> None:
    (caddy.target / "tls.crt").write_text("self-signed")
    (caddy.target / "tls.key").write_text("its key")
    assert caddy.share() == ("self-signed", "its key")
    caddy.put("acme", "certificate", "")
    assert caddy.share() == ("self-signed", "its key")


def test_caddy_takes_its_configuration(tmp_path: Path) -> None:
    run(
        program("caddy"),
        *("validate", "--adapter", "caddyfile", "--config", ROOT / "deploy/compose/edge/Caddyfile"),
        POSTROOM_HOSTNAME="mail.example.test",
        POSTROOM_ACME_EMAIL="postmaster@example.test",
        XDG_DATA_HOME=str(tmp_path),
        XDG_CONFIG_HOME=str(tmp_path),
    )


# Profiles rspamd, clamav, observability


def test_rspamd_takes_its_configuration(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "deploy/compose/rspamd", tmp_path / "override.d")
    assert "syntax OK" in run(program("rspamadm"), f"--var=LOCAL_CONFDIR={tmp_path}", "configtest")


def test_clamd_takes_its_configuration() -> None:
    said = run(program("clamconf"), f"--config-dir={ROOT / 'deploy/compose/clamav'}")
    own = said.partition("Config file: freshclam.conf")[0]
    assert 'TCPSocket = "3310"' in own
    assert f'StreamMaxLength = "{60 * 1024 * 1024}"' in own
    assert not re.search(r"ERROR|Unknown", own)


def test_prometheus_takes_its_configuration_and_the_rules(tmp_path: Path) -> None:
    promtool = program("promtool")
    folder = ROOT / "deploy/observability"
    run(promtool, "check", "rules", folder / "alerts.yaml")
    text = (folder / "prometheus.yaml").read_text()
    (tmp_path / "prometheus.yaml").write_text(text.replace("/etc/prometheus/", f"{folder}/"))
    run(promtool, "check", "config", tmp_path / "prometheus.yaml")


def test_filters_take_messages_as_large_as_ours() -> None:
    largest = int(re.search(r"MAX_MESSAGE_OCTETS:-(\d+)", (ROOT / "docker-compose.yml").read_text())[1])
    clamd = (ROOT / "deploy/compose/clamav/clamd.conf").read_text()
    rspamd = (ROOT / "deploy/compose/rspamd/options.inc").read_text()
    for setting, text in (("StreamMaxLength", clamd), ("MaxFileSize", clamd), ("max_message =", rspamd)):
        found = re.search(rf"^{setting} (\d+)M", text, re.M)
        assert found, setting
        assert int(found[1]) * 1024 * 1024 > largest


def test_grafana_asks_sources_that_there_are() -> None:
    folder = ROOT / "deploy/observability"
    sources = {s["uid"]: s for s in yaml.safe_load((folder / "grafana-datasource.yaml").read_text())["datasources"]}
    for source in sources.values():
        host, _, port = source["url"].removeprefix("http://").partition(":")
        assert host in PROFILES["observability"]
        assert port in (folder / f"{host}.yaml").read_text() or host == "prometheus"
    for path in (folder / "dashboards").glob("*.json"):
        for panel in json.loads(path.read_text())["panels"]:
            assert panel["datasource"]["type"] == sources[panel["datasource"]["uid"]]["type"], (
                path.name,
                panel["title"],
            )
    traces = yaml.safe_load((folder / "tempo.yaml").read_text())["distributor"]["receivers"]["otlp"]["protocols"]
    assert traces["http"]["endpoint"].endswith(":4318"), "as docs/operations.md says"
