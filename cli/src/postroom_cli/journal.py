"""What an earlier run has done: lines in a file, so that an import that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import Self


def journal_path(*names: str) -> Path:
    """The file for one piece of work, below XDG_STATE_HOME."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    digest = hashlib.sha256("\0".join(names).encode()).hexdigest()[:24]
    return state / "postroom" / f"{digest}.journal"


class Journal:
    """Keys of what is done. One that is lost is done again, which changes nothing: calls carry idempotency keys."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._done: set[str] = set()

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("a+")
        self._file.seek(0)
        self._done = {line.rstrip("\n") for line in self._file if line.endswith("\n")}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __contains__(self, key: str) -> bool:
        return _line(key) in self._done

    def __len__(self) -> int:
        return len(self._done)

    def add(self, key: str) -> None:
        """Remember it for the next run."""
        self._done.add(_line(key))
        self._file.write(_line(key) + "\n")
        self._file.flush()


def _line(key: str) -> str:
    return key.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
