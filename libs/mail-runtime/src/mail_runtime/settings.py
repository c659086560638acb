"""Settings from the environment, checked once at start.

A settings class is a frozen dataclass whose fields carry `setting(name, default, unit, why)`.
A value that can't be read stops the start with a sentence that says what to change.
A secret may be given as `NAME` or as the path of a file in `NAME_FILE`.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
_REQUIRED: Any = dataclasses.MISSING


class SettingsError(Exception):
    """A setting is missing or wrong; the text says what to change."""


def setting(name: str, why: str, default: Any = _REQUIRED, *, secret: bool = False) -> Any:
    """Declare a field read from environment variable `name`; without `default` it must be set."""
    return dataclasses.field(default=default, repr=not secret, metadata={"env": name, "why": why, "secret": secret})


def _convert(name: str, text: str, kind: Any) -> Any:
    if kind is bool:
        if text.lower() in {"1", "true", "yes", "on"}:
            return True
        if text.lower() in {"0", "false", "no", "off", ""}:
            return False
        raise SettingsError(f"{name}={text!r} is not a yes or no: write 1 or 0")
    options = [option for option in typing.get_args(kind) if option is not type(None)]
    if options:
        return _convert(name, text, options[0])
    try:
        return kind(text)
    except ValueError:
        raise SettingsError(f"{name}={text!r} is not a {kind.__name__}") from None


def read_settings(kind: type[T], environ: Mapping[str, str] = os.environ) -> T:
    """Build `kind` from the environment. Raises SettingsError."""
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        name = field.metadata["env"]
        text = environ.get(name)
        if text is None and (path := environ.get(f"{name}_FILE")):
            try:
                text = Path(path).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise SettingsError(f"{name}_FILE: can't read {path}: {error.strerror}") from None
        if text is not None and text != "":
            values[field.name] = _convert(name, text, hints[field.name])
        elif field.default is dataclasses.MISSING:
            raise SettingsError(f"{name} is not set: {field.metadata['why']}")
    return kind(**values)


def settings_or_exit(kind: type[T]) -> T:
    """`read_settings`, ending the process with the sentence when it fails."""
    try:
        return read_settings(kind)
    except SettingsError as error:
        sys.exit(f"settings: {error}")
