"""Which trace a piece of work belongs to, from a message's arrival to its delivery (W3C Trace Context, level 1).

A trace begins where a message arrives, goes along in the header `traceparent` of calls and jobs, and is kept with the
message while it waits to be sent. Ids are always made, as logs and support need them; spans are exported only where an
OTLP endpoint is configured (`mail_runtime.exporting`), and cost nothing elsewhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, MutableMapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

HEADER: Final = "traceparent"
# In stored messages: what support searches for. The value is the trace id.
FIELD: Final = "X-Postroom-Trace"
# W3C Trace Context §3.2: version-trace-parent-flags in lower case; later versions may add fields at the end.
_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?"
)
_SAMPLED: Final = 1

_UNSEEN: Final = nullcontext()

Kind = Literal["internal", "server", "consumer"]


@dataclass(frozen=True, slots=True)
class Trace:
    """Where we are in a trace: 32 and 16 hexadecimal digits. `sampled`: who is asked next should record, too."""

    trace_id: str
    span_id: str
    sampled: bool = True

    def __str__(self) -> str:
        """As in the header `traceparent`."""
        return f"00-{self.trace_id}-{self.span_id}-{self.sampled:02x}"

    def field(self) -> bytes:
        """The header field of a message, with CRLF."""
        return f"{FIELD}: {self.trace_id}\r\n".encode()


def new() -> Trace:
    """A trace that begins here."""
    octets = os.urandom(24).hex()
    return Trace(octets[:32], octets[32:])


def parse(text: str) -> Trace | None:
    """Of a header `traceparent`; None: there is none, or not one that makes sense, and a trace begins anew (§4.3)."""
    found = _TRACEPARENT.fullmatch(text)
    return None if found is None else Trace(found[1], found[2], bool(int(found[3], 16) & _SAMPLED))


def trace_id(traceparent: str) -> str | None:
    """Of what was kept by `carried`; None for the empty one."""
    return traceparent[3:35] or None


_current: Final[ContextVar[Trace | None]] = ContextVar("trace", default=None)


def current() -> Trace | None:
    """The trace of the task that runs."""
    return _current.get()


def carried() -> str:
    """The current trace for whoever does the rest of the work; empty where there is none."""
    trace = _current.get()
    return "" if trace is None else str(trace)


class Recording(Protocol):
    """A span that will be exported."""

    trace: Trace

    def end(self, name: str, error: BaseException | None) -> None: ...


class Recorder(Protocol):
    """Makes spans; there is one while they are exported."""

    def start(self, name: str, parent: Trace | None, kind: Kind) -> Recording: ...


_recorder: Recorder | None = None


def record_with(recorder: Recorder | None) -> None:
    """From now on spans are made by it, or by nobody."""
    global _recorder
    _recorder = recorder


class Span:
    """Work that takes time, and is over with `end`. Meanwhile the current trace is the one of this span."""

    __slots__ = ("_before", "_recording", "name", "trace")

    def __init__(self, name: str, parent: Trace | None = None, kind: Kind = "internal") -> None:
        """Without `parent` a trace begins."""
        self.name, self._before = name, _current.get()
        self._recording = None if _recorder is None else _recorder.start(name, parent, kind)
        self.trace = (parent or new()) if self._recording is None else self._recording.trace
        _current.set(self.trace)

    def end(self, error: BaseException | None = None) -> None:
        """By the task that began it; a second time it does nothing."""
        if _current.get() is self.trace:
            _current.set(self._before)
        if self._recording is not None:
            self._recording.end(self.name, error)
            self._recording = None


@contextmanager
def span(name: str, parent: Trace | None = None, kind: Kind = "internal") -> Iterator[Span]:
    """A span while the block runs; without `parent` a trace begins."""
    begun = Span(name, parent, kind)
    try:
        yield begun
    except BaseException as error:
        begun.end(error)
        raise
    begun.end()


def step(name: str) -> AbstractContextManager[object]:
    """Part of the work that is under way: seen in exported traces only."""
    return _UNSEEN if _recorder is None else span(name, _current.get())


def add_trace_id(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Processor of structlog: `trace_id` in each line of work that belongs to a trace."""
    trace = _current.get()
    if trace is not None:
        event.setdefault("trace_id", trace.trace_id)
    return event
