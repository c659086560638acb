"""THREAD: what RFC 5256 §3 says, step by step, and what a hostile sender may try."""

from __future__ import annotations

import pytest

from store_api.search.threads import Node, Threaded, flattened, ordered_subject, references


def message(uid: int, subject: str = "", own: str = "", *refs: str, date: int | None = None) -> Threaded:
    is_reply = subject.lower().startswith("re:")
    return Threaded(uid, uid if date is None else date, subject.removeprefix("re:").strip(), is_reply, own, refs)


def shown(roots: list[Node]) -> str:
    """As the THREAD response shows it (RFC 5256 §4)."""
    return "".join(f"({_members(root)})" for root in roots)


def _members(node: Node) -> str:
    own = "" if node.message is None else str(node.message.uid)
    if len(node.children) == 1:
        return f"{own} {_members(next(iter(node.children)))}".strip()
    below = shown(list(node.children))
    return f"{own} {below}" if own and below else own + below


# Each a list of messages, and what REFERENCES makes of them.
EXAMPLES = {
    "RFC 5256 §4: a thread that splits": (
        [
            message(2),
            message(3, "s", "3"),
            message(6, "s", "6", "3"),
            message(4, "s", "4", "3", "6"),
            message(23, "s", "23", "6", "4"),
            message(44, "s", "44", "6"),
            message(7, "s", "7", "44"),
            message(96, "s", "96", "44", "7"),
        ],
        "(2)(3 6 (4 23)(44 7 96))",
    ),
    "RFC 5256 §4: the parent isn't there": ([message(3, "a", "3", "x"), message(5, "b", "5", "x")], "((3)(5))"),
    "step 1.A: truncated references": (
        [message(1, "a", "1"), message(2, "b", "2", "1"), message(3, "c", "3", "1", "2"), message(4, "d", "4", "3")],
        "(1 2 3 4)",
    ),
    "step 1.A: the first of two with one id has it": (
        [message(1, "a", "x"), message(2, "b", "x"), message(3, "c", "3", "x")],
        "(1 3)(2)",
    ),
    "step 1.A: links that are there stay": (
        [message(1, "a", "1"), message(2, "b", "2", "1"), message(3, "c", "3", "9", "2")],
        "(1 2 3)",
    ),
    "step 1.B: the last reference wins": (
        [message(1, "a", "1", "8", "2"), message(2, "b", "2"), message(3, "c", "3", "2", "1")],
        "(2 1 3)",
    ),
    "step 1: no loops": ([message(1, "a", "1", "2"), message(2, "b", "2", "1")], "(2 1)"),
    "step 1: no loop with itself": ([message(1, "a", "1", "1")], "(1)"),
    "step 3: dummies in between go": ([message(1, "a", "1"), message(2, "b", "2", "1", "8", "9")], "(1 2)"),
    "step 3: a dummy root with one child goes": ([message(1, "a", "1", "9")], "(1)"),
    "step 4: by date": ([message(1, "a", date=9), message(2, "b", date=3)], "(2)(1)"),
    "step 5: a reply joins by subject": ([message(1, "a"), message(2, "re: a")], "(1 2)"),
    "step 5: a reply comes first": ([message(1, "re: a"), message(2, "a")], "(2 1)"),
    "step 5: two that aren't replies": ([message(1, "a"), message(2, "a"), message(3, "a")], "((1)(2)(3))"),
    "step 5: two replies": ([message(1, "re: a"), message(2, "re: a")], "((1)(2))"),
    "step 5: a dummy takes the others": (
        [message(1, "a", "1", "x"), message(2, "b", "2", "x"), message(3, "re: a"), message(4, "a")],
        "((1)(2)(3)(4))",
    ),
    "step 5: two dummies": (
        [message(1, "a", "1", "x"), message(2, "b", "2", "x"), message(3, "a", "3", "y"), message(4, "b", "4", "y")],
        "((1)(2)(3)(4))",
    ),
    "step 5: without a subject nothing joins": ([message(1), message(2), message(3, "re:")], "(1)(2)(3)"),
    "step 6: siblings by date": (
        [message(1, "a", "1"), message(2, "b", "2", "1", date=9), message(3, "c", "3", "1", date=5)],
        "(1 (3)(2))",
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_references(name: str) -> None:
    messages, expected = EXAMPLES[name]
    assert shown(references(messages)) == expected


def test_ordered_subject() -> None:
    messages = [
        message(1, "b", date=5),
        message(2, "a", date=9),
        message(3, "re: b", date=1),
        message(4, "a", date=7),
        message(5, "b", date=5),
    ]
    assert shown(ordered_subject(messages)) == "(3 (1)(5))(4 2)"


def test_a_long_conversation_needs_no_stack_and_no_squares() -> None:
    chain = [message(n, f"s{n}", str(n), str(n - 1)) for n in range(1, 50_001)]
    # Squares would take longer than a test may.
    uids, depths = flattened(references(chain))
    assert uids == [*depths[1:], 50_000]


def test_every_message_is_there_once() -> None:
    messages = [message(n, f"s{n % 7}", str(n % 11), *(str((n * k) % 13) for k in range(3))) for n in range(1, 60)]
    uids, _ = flattened(references(messages))
    assert sorted(uid for uid in uids if uid) == list(range(1, 60))
