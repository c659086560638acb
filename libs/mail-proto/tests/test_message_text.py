"""Text of hostile HTML: no exception, linear time."""

from __future__ import annotations

import pytest

from mail_proto.message.structure import scan
from mail_proto.message.text import searchable


@pytest.mark.parametrize(
    ("markup", "words"),
    [
        (b"<p>one<br>two</p><!-- <b>no</b> --><SCRIPT>no</SCRIPT>three", ["one", "two", "three"]),
        (b"one &#" + b"9" * 5_000 + b";", None),
        (b"<script " * 130_000, []),
        (b"<script>" * 130_000, []),
        (b"<!--" * 250_000, []),
    ],
    ids=["tags", "huge reference", "open tags", "open scripts", "open comments"],
)
def test_html(markup: bytes, words: list[str] | None) -> None:
    octets = b"Content-Type: text/html\r\n\r\n" + markup
    text = searchable(octets, scan(octets))
    assert words is None or text.split() == words
