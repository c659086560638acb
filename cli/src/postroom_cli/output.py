"""What a command prints: tables for eyes, JSON for machines, progress on the terminal only."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

Row = Mapping[str, Any]


class Output:
    """Results go to standard output, everything else to standard error, so that pipes stay clean."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self._out = Console(file=sys.stdout, highlight=False, soft_wrap=True)
        self._err = Console(file=sys.stderr, highlight=False, soft_wrap=True)

    def rows(self, rows: Sequence[Row], columns: Sequence[str]) -> None:
        """A list: as a table of these columns, or as JSON with all that there is."""
        if self.as_json:
            self._json(list(rows))
            return
        table = Table(*[column.replace("_", " ") for column in columns], box=None, pad_edge=False)
        for row in rows:
            table.add_row(*[_text(row.get(column)) for column in columns])
        self._out.print(table)

    def item(self, row: Row) -> None:
        """One thing: a line for each of its values, or JSON."""
        if self.as_json:
            self._json(row)
            return
        table = Table.grid(padding=(0, 2))
        for name, value in row.items():
            table.add_row(name.replace("_", " "), _text(value))
        self._out.print(table)

    def line(self, text: str, style: str = "") -> None:
        """A line for eyes."""
        self._out.print(text, markup=False, style=style)

    def done(self, sentence: str, row: Row | None = None) -> None:
        """What was done: a sentence, or JSON with its values."""
        if self.as_json:
            self._json({"done": sentence, **(row or {})})
        else:
            self._out.print(sentence, markup=False)

    def note(self, sentence: str) -> None:
        """Something to know, on standard error."""
        self._err.print(sentence, markup=False, style="yellow")

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Advance]:
        """A bar on standard error while the block runs, if that is a terminal."""
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._err,
            transient=True,
            disable=not self._err.is_terminal or self.as_json,
        ) as progress:
            yield Advance(progress, progress.add_task(what, total=total))

    def _json(self, value: Any) -> None:
        json.dump(value, sys.stdout, ensure_ascii=False, indent=2, default=str)
        sys.stdout.write("\n")


class Advance:
    """Moves a bar."""

    def __init__(self, progress: Progress, task: Any) -> None:
        self._progress, self._task = progress, task

    def __call__(self, steps: int = 1, *, what: str | None = None, total: int | None = None) -> None:
        if total is not None:
            self._progress.update(self._task, total=total)
        if what is not None:
            self._progress.update(self._task, description=what)
        self._progress.advance(self._task, steps)


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name}={_text(inner)}" for name, inner in value.items())
    return str(value)
