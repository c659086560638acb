"""README.md says what IMAP offers."""

from __future__ import annotations

from mail_testkit.extensions import README, written


def test_the_table_is_up_to_date() -> None:
    """`python -m mail_testkit.extensions` writes it."""
    text = README.read_text()
    assert written(text) == text
