"""Trace ids: made, carried, logged; spans only where they are wanted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mail_runtime import tracing
from mail_runtime.tracing import Kind, Span, Trace

EXAMPLE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_the_example_of_the_specification() -> None:
    trace = tracing.parse(EXAMPLE)
    assert trace == Trace("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", sampled=True)
    assert str(trace) == EXAMPLE
    assert trace.field() == b"X-Postroom-Trace: 0af7651916cd43dd8448eb211c80319c\r\n"
    assert tracing.trace_id(EXAMPLE) == trace.trace_id
    assert tracing.trace_id("") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        EXAMPLE.upper(),
        EXAMPLE.replace("00-", "ff-", 1),
        EXAMPLE[:-1],
        EXAMPLE + "-more\n",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
        EXAMPLE + "\r\nX: y",
    ],
)
def test_what_makes_no_sense_is_no_parent(text: str) -> None:
    assert tracing.parse(text) is None


def test_a_later_version_may_say_more() -> None:
    trace = tracing.parse("cc" + EXAMPLE[2:-2] + "08-what-the-future-will-be-like")
    assert trace is not None
    assert not trace.sampled
    assert str(trace).endswith("-00")


def test_new_ones_differ_and_make_sense() -> None:
    traces = [tracing.new() for _ in range(100)]
    assert len({trace.trace_id for trace in traces}) == 100
    assert [tracing.parse(str(trace)) for trace in traces] == traces


def test_spans_nest_and_end() -> None:
    assert tracing.carried() == ""
    with tracing.span("outer") as outer:
        assert tracing.carried() == str(outer.trace)
        with tracing.span("inner", tracing.parse(EXAMPLE)):
            assert tracing.carried() == EXAMPLE
        assert tracing.current() is outer.trace
        outer.end()
    assert tracing.current() is None


async def test_tasks_go_on_with_the_trace_and_keep_theirs() -> None:
    async def work() -> str:
        with tracing.span("theirs", tracing.parse(EXAMPLE)):
            await asyncio.sleep(0)
            return tracing.carried()

    with tracing.span("ours") as ours:
        inherited, own = await asyncio.gather(asyncio.to_thread(tracing.carried), work())
        assert (inherited, own) == (str(ours.trace), EXAMPLE)
        assert tracing.current() is ours.trace


def test_lines_of_the_log_have_the_id() -> None:
    assert tracing.add_trace_id(None, "info", {"event": "x"}) == {"event": "x"}
    with tracing.span("work", tracing.parse(EXAMPLE)):
        line = tracing.add_trace_id(None, "info", {"event": "x"})
    assert line == {"event": "x", "trace_id": "0af7651916cd43dd8448eb211c80319c"}


class Notes:
    """A recorder, and the spans that it made."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Trace | None, Any]] = []

    def start(self, name: str, parent: Trace | None, kind: Kind) -> Note:
        return Note(self, parent)


class Note:
    def __init__(self, notes: Notes, parent: Trace | None) -> None:
        self._notes, self._parent, self.trace = notes, parent, tracing.new()

    def end(self, name: str, error: BaseException | None) -> None:
        self._notes.spans.append((name, self._parent, error))


def test_steps_are_recorded_only_where_somebody_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    notes = Notes()
    with tracing.step("nobody looks"):
        assert tracing.current() is None
    monkeypatch.setattr(tracing, "_recorder", notes)
    failure = ValueError("x")
    root = Span("before")
    with pytest.raises(ValueError), tracing.step("part"):
        raise failure
    root.name = "whole"
    root.end()
    root.end()
    assert notes.spans == [("part", root.trace, failure), ("whole", None, None)]
