"""The table of IMAP extensions in README.md, made from the code: `python -m mail_testkit.extensions` writes it."""

from __future__ import annotations

from typing import Final

from mail_proto.imap.capabilities import ALWAYS, SOMETIMES
from mail_testkit import messages

README: Final = messages.ROOT / "README.md"
BEGIN: Final = "<!-- IMAP extensions, by mail_testkit.extensions -->\n"
END: Final = "<!-- end of IMAP extensions -->\n"


def table() -> str:
    """Markdown, a row for each capability."""
    rows = ["| capability | document | what for |", "| --- | --- | --- |"]
    rows += [f"| `{name}` | {document} | {what} |" for name, (document, what) in (ALWAYS | SOMETIMES).items()]
    return "\n".join(rows) + "\n"


def written(readme: str) -> str:
    """The README with the table as it is now. Raises ValueError: it has no place for it."""
    head, begin, rest = readme.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"README.md has no {BEGIN.strip()} and {END.strip()}")
    return head + begin + table() + end + tail


def main() -> None:
    README.write_text(written(README.read_text()))


if __name__ == "__main__":
    main()
