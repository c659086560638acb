"""The examples of docs/api.md, run as they stand."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mail_testkit.running import RunningPostroom

GUIDE = Path(__file__).parents[2] / "docs" / "api.md"


@pytest.mark.skipif(shutil.which("curl") is None, reason="the examples call curl")
def test_the_examples_work(postroom: RunningPostroom, tmp_path: Path) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) > 5
    script = "set -eu\n" + "\n".join(blocks)
    done = subprocess.run(
        ["bash", "-c", script],
        env={"PATH": os.environ["PATH"], "api": postroom.api_url, "token": postroom.admin_token},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count('"type":"/problems/not-found"') == 2, "the one that is shown, and its explanation"
    assert '"status":422' not in done.stdout
    assert (tmp_path / "directory.ndjson").read_text().endswith("}\n")
