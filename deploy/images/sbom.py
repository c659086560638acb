"""What is in this image, as a CycloneDX 1.6 document on standard output: Python's packages and Debian's.

Runs in the image's last stage, with the image's own Python, and needs nothing else.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from importlib.metadata import Distribution, distributions
from urllib.parse import quote

DPKG_FORMAT = "${binary:Package}\t${Version}\t${Architecture}\t${db:Status-Abbrev}\n"


def python_component(found: Distribution) -> dict[str, object]:
    """By the package's metadata; its name as PyPI normalizes it (PEP 503)."""
    name = re.sub(r"[-_.]+", "-", found.metadata["Name"]).lower()
    purl = f"pkg:pypi/{name}@{quote(found.version)}"
    component: dict[str, object] = {"type": "library", "bom-ref": purl, "name": name, "version": found.version}
    component["purl"] = purl
    if expression := found.metadata.get("License-Expression"):
        component["licenses"] = [{"expression": expression}]
    return component


def debian_components() -> list[dict[str, object]]:
    """What dpkg has installed."""
    said = subprocess.run(
        ["dpkg-query", "--show", f"--showformat={DPKG_FORMAT}"], capture_output=True, text=True, check=True
    )
    components: list[dict[str, object]] = []
    for line in said.stdout.splitlines():
        name, version, architecture, status = line.split("\t")
        if status.startswith("ii"):
            plain = name.partition(":")[0]
            purl = f"pkg:deb/debian/{plain}@{quote(version)}?arch={architecture}"
            components.append({"type": "library", "bom-ref": purl, "name": plain, "version": version, "purl": purl})
    return components


def document(name: str) -> dict[str, object]:
    """Without time and serial number: the same image gives the same document."""
    python = {"type": "platform", "bom-ref": "python", "name": "python", "version": platform.python_version()}
    own = {found.metadata["Name"].lower(): python_component(found) for found in distributions()}
    components = [python, *(own[key] for key in sorted(own)), *debian_components()]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "bom-ref": name, "name": name}},
        "components": components,
    }


if __name__ == "__main__":
    json.dump(document(sys.argv[1]), sys.stdout, indent=1)
