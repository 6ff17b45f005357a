"""The examples of docs/ run, and the links of the documentation lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from robodf.demo.recordings import write_recordings

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "benchmarks" / "README.md"])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", document.read_text("utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_examples_of_dedup() -> None:
    text = (ROOT / "docs" / "dedup.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    exec("\n".join(blocks), {})


@pytest.mark.ray
def test_examples_of_scale_out(ray_cluster: Any, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "scale-out.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    blocks = [block for block in blocks if not block.startswith("# on a cluster")]
    assert len(blocks) > 5
    write_recordings(tmp_path / "robodf-demo" / "recordings")
    script = tmp_path / "script.py"
    script.write_text("\n".join(blocks), "utf-8")
    # Another process, as that of a reader: functions of a script travel otherwise than those of a module.
    environment = {**os.environ, "RAY_ADDRESS": ray_cluster.address, "ROBODF_PROGRESS": "0"}
    said = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240
    )
    assert said.returncode == 0, said.stderr
    (shown,) = re.findall(r"^```text\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert shown in said.stdout.replace("cut for 3 CPUs", "cut for 2 CPUs")
