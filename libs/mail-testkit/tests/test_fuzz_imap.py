"""The fuzzer of IMAP sessions itself, for a moment."""

from __future__ import annotations

from mail_testkit.fuzz_imap import fuzz


def test_it_runs() -> None:
    assert fuzz(seconds=2.0, seed=1) > 0
