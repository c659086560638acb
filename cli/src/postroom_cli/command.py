"""What all commands of the REST API share: its address, a token, `--json`, and errors as sentences."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from postroom_cli.output import Output
from postroom_cli.rest import DEFAULT_URL, Rest, RestError, find_token

INTERRUPTED: Final = 130

Url = Annotated[str, typer.Option("--url", envvar="POSTROOM_URL", help="where the REST API is")]
Token = Annotated[
    str | None, typer.Option("--token", envvar="POSTROOM_TOKEN", show_envvar=True, help="a token of the REST API")
]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]

_OPTIONS: Final = {"url": (Url, DEFAULT_URL), "token": (Token, None), "as_json": (Json, False)}


class CommandError(Exception):
    """The command can't do what it is asked; the text says what to change."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a command works with."""

    rest: Rest
    out: Output


Work = Callable[..., Awaitable[None]]


def command(app: typer.Typer, name: str, *, needs_rest: bool = True) -> Callable[[Work], Work]:
    """Add an `async` function, whose first parameter is the Context, as a command.

    `needs_rest=False`: a token is used when there is one, and not asked for.
    """

    def add(work: Work) -> Work:
        @functools.wraps(work)
        def run(url: str, token: str | None, as_json: bool, **arguments: Any) -> None:
            complete(_with_context(work, url, token, as_json, needs_rest, arguments))

        own = list(inspect.signature(work, eval_str=True).parameters.values())[1:]
        shared = [
            inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for option, (annotation, default) in _OPTIONS.items()
        ]
        own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
        run.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *shared]}
        del run.__wrapped__
        app.command(name)(run)
        return work

    return add


async def _with_context(
    work: Work, url: str, token: str | None, as_json: bool, needs_rest: bool, arguments: dict[str, Any]
) -> None:
    try:
        found = find_token(token)
    except RestError:
        if needs_rest:
            raise
        found = ""
    async with Rest(url, found) as rest:
        await work(Context(rest, Output(as_json)), **arguments)


def complete(work: Awaitable[None], *errors: type[Exception]) -> None:
    """Run to the end; an error is a sentence on standard error and exit code 1."""

    async def run() -> None:
        await work

    try:
        asyncio.run(run())
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        failure = _first(error)
        if not isinstance(failure, (RestError, CommandError, *errors)):
            raise
        Console(stderr=True).print(f"postroom: {failure}", style="red", highlight=False, markup=False, soft_wrap=True)
        sys.exit(1)


def _first(error: BaseException) -> BaseException:
    """The first error of those that tasks raised together."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
