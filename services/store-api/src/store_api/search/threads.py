"""THREAD (RFC 5256 §3): messages as a forest, by subject or by references."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import Final, NamedTuple

from mail_runtime.contracts.store.search import ThreadAlgorithm
from store_api.search.keys import Keys

COLUMNS: Final = ("base_subject", "is_reply", "sent_date", "message_id", "refs")


class Threaded(NamedTuple):
    """A message as it is threaded. `date`: seconds since the epoch, sent or else arrived (RFC 5256 §2.2).

    A tuple is made in a third of the time that a dataclass takes.
    """

    uid: int
    date: int
    base_subject: str = ""
    is_reply: bool = False
    message_id: str = ""
    references: Sequence[str] = ()


_UID: Final = attrgetter("uid")
_DATE: Final = attrgetter("date")
_BASE_SUBJECT: Final = attrgetter("base_subject")


def threaded(keys: Keys) -> list[Threaded]:
    """Messages with the values of COLUMNS."""
    return [
        Threaded(uid, arrived if sent is None else sent, subject, is_reply, own, refs.split())
        for uid, arrived, subject, is_reply, sent, own, refs in zip(
            keys.uids, keys.internal_dates, *keys.values, strict=True
        )
    ]


@dataclass(eq=False, slots=True)
class Node:
    """A message in the forest; without one a dummy: what others refer to but isn't there."""

    message: Threaded | None = None
    parent: Node | None = None
    children: dict[Node, None] = field(default_factory=dict)

    def adopt(self, child: Node) -> None:
        if child.parent is not None:
            del child.parent.children[child]
        child.parent = self
        self.children[child] = None

    def is_below(self, other: Node) -> bool:
        """Whether `other` is this node or above it."""
        if not other.children:  # usual: long conversations would take quadratic time
            return self is other
        node: Node | None = self
        while node is not None:
            if node is other:
                return True
            node = node.parent
        return False

    def sort_children(self) -> None:
        if len(self.children) < 2:  # most nodes
            return
        self.children = dict.fromkeys(sorted(self.children, key=lambda child: child.order))

    @property
    def first(self) -> Threaded:
        """Its message, or that of its first child (RFC 5256 §3: the dummies left over have children with messages)."""
        node = self
        while node.message is None:
            node = next(iter(node.children))
        return node.message

    @property
    def order(self) -> tuple[int, int]:
        """By sent date; ties by the order in the mailbox (RFC 5256 §2.2)."""
        return self.first.date, self.first.uid


def ordered_subject(messages: Iterable[Threaded]) -> list[Node]:
    """ORDEREDSUBJECT: the first of each base subject, with all the others of it below, by sent date."""
    # Sorting is stable, and quicker by one value at a time.
    ordered = sorted(messages, key=_UID)
    ordered.sort(key=_DATE)
    ordered.sort(key=_BASE_SUBJECT)
    roots = []
    for _, group in groupby(ordered, key=_BASE_SUBJECT):
        root, *others = (Node(message) for message in group)
        root.children = dict.fromkeys(others)
        roots.append(root)
    return sorted(roots, key=lambda root: root.order)


def references(messages: Sequence[Threaded]) -> list[Node]:
    """REFERENCES: its six steps."""
    nodes = _linked(sorted(messages, key=_UID))
    roots = _pruned([node for node in nodes if node.parent is None])
    _sort_children_of_dummies(roots)
    roots = _gathered(sorted(roots, key=lambda root: root.order))
    _sort_siblings(roots)
    return sorted(roots, key=lambda root: root.order)


def _linked(messages: Sequence[Threaded]) -> list[Node]:
    """Step 1: parents and children by the ids in References and In-Reply-To."""
    nodes = [Node(message) for message in messages]
    by_id: dict[str, Node] = {}
    for node, message in zip(nodes, messages, strict=True):
        if message.message_id:
            by_id.setdefault(message.message_id, node)  # of two with one id the first has it
    for node, message in zip(list(nodes), messages, strict=True):
        previous: Node | None = None
        for reference in message.references:
            if (referred := by_id.get(reference)) is None:
                referred = by_id[reference] = Node()
                nodes.append(referred)
            if previous is not None and referred.parent is None and not previous.is_below(referred):
                previous.adopt(referred)
            previous = referred
        _set_parent(node, previous)
    return nodes


def _set_parent(node: Node, parent: Node | None) -> None:
    """Step 1.B: the last reference is the parent, whatever the references of others say."""
    if node.parent is not None and node.parent is not parent:
        del node.parent.children[node]
        node.parent = None
    if parent is not None and node.parent is None and not parent.is_below(node):
        parent.adopt(node)


def _walk(roots: Iterable[Node]) -> Iterator[Node]:
    """All nodes, parents before children. Threads of a hostile sender are deep: no recursion."""
    pending = list(roots)
    while pending:
        node = pending.pop()
        yield node
        if node.children:
            pending += node.children


def _pruned(roots: list[Node]) -> list[Node]:
    """Step 3: without dummies, but for those that hold several threads together."""
    for node in reversed(list(_walk(roots))):  # children first
        if not node.children:
            continue
        node.children = {kept: None for child in node.children for kept in _spliced(child)}
        for child in node.children:
            child.parent = node
    kept: list[Node] = []
    for root in roots:
        if root.message is None and len(root.children) <= 1:
            kept.extend(root.children)
            for child in root.children:
                child.parent = None
        else:
            kept.append(root)
    return kept


def _spliced(node: Node) -> Iterable[Node]:
    return node.children if node.message is None else [node]


def _sort_children_of_dummies(roots: Iterable[Node]) -> None:
    """Step 4: a dummy is sorted by the first of its children."""
    for root in roots:
        if root.message is None:
            root.sort_children()


def _gathered(roots: Sequence[Node]) -> list[Node]:
    """Step 5: threads of the same base subject become one."""
    table: dict[str, Node] = {}
    for root in roots:
        subject = root.first.base_subject
        known = table.get(subject)
        if subject and (known is None or _goes_before(root, known)):
            table[subject] = root
    kept: dict[Node, None] = dict.fromkeys(roots)
    for root in roots:
        subject = root.first.base_subject
        if subject and table[subject] is not root:
            _merge(root, table, subject, kept)
    return list(kept)


def _goes_before(root: Node, known: Node) -> bool:
    """Step 5.B.iv."""
    return known.message is not None and (
        root.message is None or (known.message.is_reply and not root.message.is_reply)
    )


def _merge(root: Node, table: dict[str, Node], subject: str, kept: dict[Node, None]) -> None:
    """Step 5.C: join a thread with that in the table."""
    known = table[subject]
    del kept[root]
    if root.message is None and known.message is None:
        for child in list(root.children):
            known.adopt(child)
    elif known.message is None or (root.message is not None and root.message.is_reply and not known.message.is_reply):
        known.adopt(root)
    else:
        dummy = Node()
        del kept[known]
        dummy.adopt(known)
        dummy.adopt(root)
        kept[dummy] = None
        table[subject] = dummy


def _sort_siblings(roots: Iterable[Node]) -> None:
    """Step 6: grandchildren before children."""
    for node in reversed(list(_walk(roots))):
        node.sort_children()


_ALGORITHMS: Final[dict[str, Callable[[Sequence[Threaded]], list[Node]]]] = {
    "orderedsubject": ordered_subject,
    "references": references,
}


def forest(messages: Keys, algorithm: ThreadAlgorithm) -> tuple[list[int], list[int]]:
    """What `flattened` gives of messages with the values of COLUMNS."""
    with _collecting_later():
        roots = _ALGORITHMS[algorithm](threaded(messages))
        found = flattened(roots)
        _take_apart(roots)
        return found


def _take_apart(roots: list[Node]) -> None:
    """Without cycles nodes are freed as soon as nobody has them: the collector would look at them all to find out."""
    for node in _walk(roots):
        node.parent = None
    roots.clear()


@contextmanager
def _collecting_later() -> Iterator[None]:
    """The collector of cycles looks at all the new nodes again and again and finds none to free: half of the time.

    Several threads may be in it: it is the first one that sees it enabled that enables it again.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def flattened(roots: Sequence[Node]) -> tuple[list[int], list[int]]:
    """(uids, depths) of a walk from the roots, siblings in order; uid 0 for a dummy."""
    uids, depths = [], []
    pending = [(root, 0) for root in reversed(roots)]
    while pending:
        node, depth = pending.pop()
        uids.append(0 if node.message is None else node.message.uid)
        depths.append(depth)
        if node.children:
            pending += [(child, depth + 1) for child in reversed(node.children)]
    return uids, depths
