"""Results of a search that are kept up to date (RFC 5267 §4.3): what a client is told to add and to remove."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence

from mail_proto.imap import sequence

Numbers = Callable[[Sequence[int]], Sequence[int]]


class SearchUpdates:
    """The results as the client has them, as uids: by uid, or with `is_sorted` in an order of their own.

    `correlator`: what responses begin with; `numbers`: uids as the client asked for them.
    """

    def __init__(self, correlator: bytes, results: Iterable[int], *, is_sorted: bool) -> None:
        self._correlator, self._is_sorted = correlator, is_sorted
        self._results = array("I", results)

    def without(self, gone: Sequence[int], numbers: Numbers) -> bytes:
        """REMOVEFROM of those that are among the results."""
        if self._is_sorted:
            lost = set(gone)
            return self.become([uid for uid in self._results if uid not in lost], numbers)
        return self._respond(self._drop(gone, numbers))

    def update(self, changed: Iterable[int], matching: Iterable[int], numbers: Numbers) -> bytes:
        """`changed` messages, of which only `matching` belong to the results now. Not for sorted results."""
        matches = set(matching)
        removed = self._drop(sorted(set(changed) - matches), numbers)
        added = [uid for uid in sorted(matches) if not self._has(uid)]
        for uid in added:
            self._results.insert(bisect_left(self._results, uid), uid)
        return self._respond([*removed, *([b"ADDTO (0 %b)" % sequence.render(numbers(added))] if added else [])])

    def become(self, results: Sequence[int], numbers: Numbers) -> bytes:
        """The results are these now, in this order: positions count from 1, each pair is done before the next."""
        before, after = set(self._results), set(results)
        if [uid for uid in self._results if uid in after] != [uid for uid in results if uid in before]:
            before_kept: set[int] = set()  # the order is another one: begin anew
        else:
            before_kept = before & after
        # From the end, and then from the beginning: the other positions stay as they are.
        lost = list(_runs(self._results, before_kept))
        removed = [b"%d %b" % (at, sequence.render(numbers(uids))) for at, uids in reversed(lost)]
        added = [b"%d %b" % (at, sequence.render(numbers(uids))) for at, uids in _runs(results, before_kept)]
        self._results = array("I", results)
        pieces = [b"REMOVEFROM (%b)" % b" ".join(removed)] if removed else []
        return self._respond([*pieces, *([b"ADDTO (%b)" % b" ".join(added)] if added else [])])

    def _has(self, uid: int) -> bool:
        at = bisect_left(self._results, uid)
        return at < len(self._results) and self._results[at] == uid

    def _drop(self, uids: Iterable[int], numbers: Numbers) -> list[bytes]:
        removed = [uid for uid in uids if self._has(uid)]
        for uid in removed:
            del self._results[bisect_left(self._results, uid)]
        return [b"REMOVEFROM (0 %b)" % sequence.render(numbers(removed))] if removed else []

    def _respond(self, items: Sequence[bytes]) -> bytes:
        return b" ".join([self._correlator, *items]) + b"\r\n" if items else b""


def _runs(results: Sequence[int], kept: set[int]) -> Iterator[tuple[int, list[int]]]:
    """Where those begin that aren't kept, counted from 1, each with all that follow it up to the next that is."""
    run: list[int] = []
    for place, uid in enumerate([*results, 0], 1):
        if uid and uid not in kept:
            run.append(uid)
        elif run:
            yield place - len(run), run
            run = []
