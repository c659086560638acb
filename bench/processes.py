"""What the processes of a server have used."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping

import psutil


def cpu_s(roots: Mapping[str, psutil.Process]) -> Counter[str]:
    """CPU seconds so far, by the names of processes, their children with them; those that have ended are counted with
    who started them.
    """
    found: Counter[str] = Counter()
    for name, root in roots.items():
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                found[name] += sum(process.cpu_times()[:4])
    return found
