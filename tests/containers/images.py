"""What the Dockerfiles build: small, without tools to build with, not root, and content with a read-only file system.

    python -m tests.containers.images [IMAGE …]

Builds all images of docker-compose.yml (or looks at those named), and asks each of them. POSTROOM_COMPOSE and
POSTROOM_DOCKER are the commands that run Compose and Docker. Exit code 0: all as it should be.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from typing import Any, Final

from tests.containers.check import OURS, ROOT, CheckFailed, step

MAX_MB: Final = 200
# A base that is put together from packages weighs other than the published python:3.13-slim, which has so much.
STANDIN: Final = "offline.standin"
PUBLISHED_BASE_MB: Final = 122
BASE: Final = "python:3.13-slim"
TOOLS: Final = ("gcc", "cc", "g++", "make", "ld", "as", "pip", "pip3", "git", "cargo", "flit", "strip")
IMPORTS: Final = {
    "store-api": "store_api",
    "smtp-in": "smtp_in",
    "smtp-out": "smtp_out",
    "pop3": "pop3",
    "imap": "imap",
}
# Runs in the image, as its user, with nothing that can be written to.
ASK: Final = """
import importlib, importlib.metadata, json, os, shutil, sys
module, tools = sys.argv[1], sys.argv[2:]
if module:
    importlib.import_module(module)
written = []
for folder in ("/", "/opt", "/usr/share", "/etc", "/tmp"):
    try:
        open(f"{folder}/x", "w")
        written.append(folder)
    except OSError:
        pass
print(json.dumps({
    "uid": os.getuid(),
    "gid": os.getgid(),
    "tools": [tool for tool in tools if shutil.which(tool)],
    "written": written,
    "packages": sorted({d.metadata["Name"].lower().replace("_", "-") for d in importlib.metadata.distributions()}),
    "sbom": json.load(open("/usr/share/sbom.cdx.json")),
}))
"""


def docker(*arguments: str) -> str:
    """Standard output. Raises CheckFailed."""
    command = [*shlex.split(os.environ.get("POSTROOM_DOCKER", "docker")), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CheckFailed(f"docker {' '.join(arguments)[:200]} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def inspected(image: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(docker("image", "inspect", image))[0]
    return found


def size_mb(image: dict[str, Any], base: dict[str, Any]) -> float:
    """With the published base, whatever stands in for it here."""
    if STANDIN in (base["Config"].get("Labels") or {}):
        return float(image["Size"] - base["Size"]) / 1e6 + PUBLISHED_BASE_MB
    return float(image["Size"]) / 1e6


def faults(service: str, image: str) -> list[str]:
    """What isn't as it should be."""
    built, base = inspected(image), inspected(BASE)
    config = built["Config"]
    command = ["run", "--rm", "--read-only", "--network", "none", "--cap-drop", "ALL", "--entrypoint", "python", image]
    said = json.loads(docker(*command, "-c", ASK, IMPORTS.get(service, ""), *TOOLS))
    found = [f"size: {size_mb(built, base):.0f} MB"] if size_mb(built, base) >= MAX_MB else []
    if said["uid"] == 0 or said["gid"] == 0 or not config["User"]:
        found.append(f"runs as {said['uid']}:{said['gid']}")
    if said["tools"]:
        found.append(f"has {said['tools']}")
    if said["written"]:
        found.append(f"could write to {said['written']}")
    if not config.get("Healthcheck", {}).get("Test"):
        found.append("has no health check")
    if secret := [v for v in config["Env"] if any(word in v for word in ("TOKEN=", "PASSWORD=", "SECRET=", "KEY="))]:
        found.append(f"has secrets: {secret}")
    return found + sbom_faults(said["sbom"], said["packages"])


def sbom_faults(sbom: dict[str, Any], packages: list[str]) -> list[str]:
    """CycloneDX 1.6: what it must have, and that it names what is there."""
    found = []
    if (sbom["bomFormat"], sbom["specVersion"]) != ("CycloneDX", "1.6"):
        found.append("the SBOM isn't CycloneDX 1.6")
    components = sbom["components"]
    if any(not (each.get("type") and each.get("name") and each.get("version")) for each in components):
        found.append("the SBOM has components without name or version")
    if len({each["bom-ref"] for each in components}) != len(components):
        found.append("the SBOM names a component twice")
    named = {each["name"] for each in components if each.get("purl", "").startswith("pkg:pypi/")}
    if missing := set(packages) - named:
        found.append(f"the SBOM lacks {sorted(missing)}")
    if not any(each.get("purl", "").startswith("pkg:deb/debian/libc6@") for each in components):
        found.append("the SBOM lacks Debian's packages")
    return found


def main() -> int:
    """Entry point."""
    images = {name.rpartition("/")[2].partition(":")[0]: name for name in sys.argv[1:]}
    try:
        if not images:
            images = {service: f"postroom/{service}:images-check" for service in OURS}
            with step("images"):
                command = shlex.split(os.environ.get("POSTROOM_COMPOSE", "docker compose"))
                environment = {**os.environ, "POSTROOM_TAG": "images-check", "POSTROOM_BALANCER_TAG": "images-check"}
                build = [*command, "-f", str(ROOT / "docker-compose.yml"), "build", "--quiet"]
                subprocess.run(build, env=environment, check=True)
        wrong = {service: faults(service, image) for service, image in images.items()}
        for service, image in images.items():
            print(
                f"{service}: {size_mb(inspected(image), inspected(BASE)):.0f} MB, {wrong[service] or 'as it should be'}"
            )
    except (CheckFailed, subprocess.CalledProcessError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    return 1 if any(wrong.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
