"""The fuzzer of SMTP sessions itself, for a moment."""

from __future__ import annotations

from mail_testkit.fuzz_smtp import fuzz


def test_it_runs() -> None:
    assert fuzz(seconds=2.0, seed=1) > 0
