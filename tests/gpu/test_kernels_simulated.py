"""Kernels in numba's CUDA simulator: files `simulated_*.py`, each in a process of its own.

The simulator is chosen before numba is imported, and the other tests need numba as it is.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba", reason="numba is not installed")

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("simulated_*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_kernels_give_what_the_processor_gives(file: Path) -> None:
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("PYTEST_ADDOPTS", None)
    # The simulator computes with NumPy's numbers, which tell of what wraps round; compiled code wraps.
    told = [part for kind in ("multiply", "add", "subtract")
            for part in ("-W", f"ignore:overflow encountered in scalar {kind}:RuntimeWarning")]  # fmt: skip
    said = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", *told, str(file)],
        env=environment, cwd=HERE.parents[1], capture_output=True, text=True,
    )  # fmt: skip
    assert said.returncode == 0, said.stdout + said.stderr


def test_there_are_such_files() -> None:
    assert [f.stem for f in FILES] == ["simulated_keys", "simulated_sets"]
