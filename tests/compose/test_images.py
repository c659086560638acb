"""What Dockerfiles say and put into images, as far as it runs without containers; `make images-check` does the rest."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("imap", "pop3", "smtp-in", "smtp-out", "store-api")
DOCKERFILES = [ROOT / "services" / name / "Dockerfile" for name in SERVICES] + [ROOT / "deploy/balancer/Dockerfile"]
BASE = "python:3.13-slim"
TIMEOUT_S = 30


@pytest.fixture(params=DOCKERFILES, ids=lambda path: path.parent.name)
def stages(request: pytest.FixtureRequest) -> list[str]:
    """The text of each stage."""
    text = "\n" + request.param.read_text()
    return re.split(r"\nFROM ", text)[1:]


def test_all_begin_with_one_base(stages: list[str]) -> None:
    assert {stage.split()[0] for stage in stages} == {BASE}


def test_the_last_stage_is_for_running_only(stages: list[str]) -> None:
    last = stages[-1]
    assert not re.search(r"\b(pip|flit|gcc|make) (install|wheel|build)", last)
    assert "\nUSER 10001\n" in last
    assert not re.search(r"^(COPY|RUN|ADD)", last.partition("\nUSER ")[2], re.M), "nothing is written as another user"
    assert "\nHEALTHCHECK " in last
    assert "\nSTOPSIGNAL " in last
    assert "> /usr/share/sbom.cdx.json" in last
    assert not re.search(r"(TOKEN|PASSWORD|SECRET|_KEY)=", "".join(stages))


@pytest.mark.parametrize("name", SERVICES)
def test_services_are_installed_from_the_locked_list(name: str) -> None:
    text = (ROOT / "services" / name / "Dockerfile").read_text()
    assert "pip wheel --quiet --require-hashes -r requirements/runtime.txt" in text
    assert f"deploy/images/install.sh {name} {name.replace('-', '_')}\n" in text
    script = (ROOT / "deploy/images/install.sh").read_text()
    for line in re.findall(r"^pip install.*", script, re.M):
        assert "--no-index --find-links /wheels" in line


# The list of contents


def sbom() -> Any:
    spec = importlib.util.spec_from_file_location("sbom", ROOT / "deploy/images/sbom.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="not Debian")
def test_the_list_of_contents_names_what_is_here() -> None:
    document = json.loads(json.dumps(sbom().document("here")))
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    components = document["components"]
    assert len({each["bom-ref"] for each in components}) == len(components)
    names = {each["name"] for each in components if each.get("purl", "").startswith("pkg:pypi/")}
    assert names == {re.sub(r"[-_.]+", "-", found.metadata["Name"]).lower() for found in distributions()}
    (libc,) = [each for each in components if each.get("purl", "").startswith("pkg:deb/debian/libc6@")]
    assert libc["version"]
    assert "?arch=" in libc["purl"]


# Health checks


@pytest.fixture
def port() -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/readyz" else 503)
            self.end_headers()
            self.wfile.write(b"ready\n")

        def log_message(self, format: str, *arguments: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def checked(port: int, path: str) -> int:
    script = ROOT / "deploy/images/healthcheck.py"
    command = [sys.executable, "-IS", str(script), str(port), path]
    return subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False).returncode


def test_healthy_is_who_answers_200(port: int) -> None:
    assert checked(port, "/readyz") == 0
    assert checked(port, "/other") != 0


def test_unhealthy_is_who_does_not_answer() -> None:
    assert checked(1, "/readyz") != 0


def test_dockerfiles_ask_what_the_service_tells() -> None:
    for path in DOCKERFILES:
        text = path.read_text()
        asked = re.search(r'"/usr/share/healthcheck.py", "(\d+)", "(/\w+)"', text)
        assert asked is not None, path
        if path.parent.name != "balancer":
            assert f"POSTROOM_ADMIN_PORT={asked[1]}\n" in text
            assert asked[2] == "/readyz"
