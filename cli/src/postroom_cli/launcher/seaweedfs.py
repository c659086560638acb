"""Embedded S3 server: SeaweedFS with master, volume, filer and S3 gateway in one process, all on loopback."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path
from typing import Final

import aiohttp

from postroom_cli.launcher.config import HOST, free_port
from postroom_cli.launcher.programs import Program

PARTS: Final = ("master", "volume", "filer", "s3")
TIMEOUT_S: Final = 5.0
# It doesn't fsync what it writes unless told: then a 200 to a PUT is durable.
_DURABLE: Final = {"version": 1, "locations": [{"locationPrefix": "/buckets", "fsync": True}]}


def prepare(data: Path, binary: str, key: str, secret: str) -> tuple[Program, str]:
    """The program, and the BLOB_URL that leads to it."""
    directory = data / "seaweedfs"
    directory.mkdir(exist_ok=True)
    ports = _kept_ports(data / "seaweedfs-ports")
    arguments = ["server", "-s3", f"-dir={directory}", f"-ip={HOST}", f"-ip.bind={HOST}", "-master.telemetry=false"]
    arguments += ["-master.electionTimeout=1s", "-master.volumeSizeLimitMB=512"]
    arguments += ["-volume.max=100", "-volume.preStopSeconds=1"]
    # Catalogs that nobody needs here, on fixed ports: a second server on the machine couldn't start.
    arguments += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    for part in PARTS:
        arguments += [f"-{part}.port={ports[part]}", f"-{part}.port.grpc={ports[part + '.grpc']}"]
    program = Program(
        "seaweedfs",
        [binary, *arguments],
        lambda: _serves(ports),
        stage=0,
        # It takes 17 s to end by itself; what it has acknowledged is fsynced.
        stop_signal=signal.SIGKILL,
        environ={"HOME": str(directory), "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret},
    )
    return program, f"s3://postroom?endpoint=http://{HOST}:{ports['s3']}"


def _kept_ports(path: Path) -> dict[str, int]:
    """The ports of the last start, as its data name them; others when one of these is taken."""
    try:
        ports: dict[str, int] = json.loads(path.read_text())
        if all(_is_free(port) for port in ports.values()):
            return ports
    except (FileNotFoundError, json.JSONDecodeError):
        pass
    ports = {name: free_port() for part in PARTS for name in (part, part + ".grpc")}
    path.write_text(json.dumps(ports))
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


async def _serves(ports: dict[str, int]) -> bool:
    """Whether it answers, knows its volumes again, and has been told to fsync."""
    settings = f"http://{HOST}:{ports['filer']}/etc/seaweedfs/filer.conf"
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(TIMEOUT_S)) as http:
            async with http.get(f"http://{HOST}:{ports['s3']}/healthz") as response:
                response.raise_for_status()
            async with http.get(f"http://{HOST}:{ports['master']}/dir/status") as response:
                if '"DataNodes":[{' not in (await response.text()).replace(" ", ""):
                    return False
            async with http.get(settings) as response:
                if response.status == 200 and '"fsync":true' in (await response.text()).replace(" ", ""):
                    return True
            async with http.put(settings, json=_DURABLE) as response:
                response.raise_for_status()
    except (aiohttp.ClientError, OSError, TimeoutError):
        pass
    return False
