"""The examples of docs/ run, and the links of the documentation lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu_engine import pretend

import robodf as rd
from robodf.demo.recordings import write_recordings
from robodf.images.layout import to_column

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "benchmarks" / "README.md"])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", document.read_text("utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_examples_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    write_recordings(tmp_path / "runs", recordings=1, seconds=12)
    images = to_column([np.full((16, 32, 3), 20 * k, np.uint8) for k in range(6)])
    rows = {"frame": images, "action": [[float(k)] for k in range(6)]}
    tasks = {"episode_index": [0, 0, 0, 1, 1, 1], "task": ["take the pear"] * 3 + ["take the cup"] * 3}
    (tmp_path / "cameras").mkdir()
    rd.from_dict({**rows, **tasks}).to_video(tmp_path / "cameras" / "top.mp4", "frame", fps=2)
    rd.from_dict({**rows, **tasks}).to_lerobot(tmp_path / "pick_and_place", fps=10)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(block, names)
    assert names["one_second"].count_rows() == 201
    assert names["frames"].count_rows() == 6
    assert rd.read_lerobot("pears").collect()["task"].to_list() == ["take the pear"] * 3
    assert rd.read_parquet("captions.parquet").count_rows() == names["captions"].count_rows() > 0


def test_examples_of_dedup() -> None:
    text = (ROOT / "docs" / "dedup.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    exec("\n".join(blocks), {})


def _examples_of_gpu() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "gpu.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_examples_of_gpu() -> None:
    """Those that need a GPU run where there is one."""
    blocks = [block for block in _examples_of_gpu() if not block.startswith("# on a GPU") or rd.gpu.devices()]
    assert len(blocks) >= 3
    exec("\n".join(blocks), {})


@pytest.mark.gpu_plan
def test_examples_of_placement_on_a_gpu_that_polars_plays(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    *before, placed = [block for block in _examples_of_gpu() if "rd.gpu.use_pool" not in block]
    assert 'collect(engine="gpu")' in placed
    names: dict[str, Any] = {}
    exec("\n".join([*before, placed]), names)
    assert "ran on the GPU" in names["best"].profile(engine="gpu").stages["device"].drop_nulls().item()


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
