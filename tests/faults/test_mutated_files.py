"""Mutated and hostile files of all formats give rows or a clear error.

No crash, no hang, no runaway memory, nothing read or written outside of the data set, no code run. Some hundred cases
each time; ROBODF_MUTATED_FILES sets another number (`make test-long`: 10,000). Case k alone, told in full:

    python tests/faults/mutated_files.py k
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CASES = int(os.environ.get("ROBODF_MUTATED_FILES", "240"))
PARTS = max(CASES // 1250, 1)
MOST_TOLD = 20  # failures in one message

linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is watched by /proc, which Linux has")


def outcomes(*which: int | str) -> tuple[list[dict[str, Any]], str]:
    """What came of each case, and what the process said of its end."""
    script = str(Path(__file__).with_name("mutated_files.py"))
    # A case that hangs ends the process by itself, which then says where.
    done = subprocess.run([sys.executable, script, *map(str, which)], capture_output=True, text=True, errors="replace")
    found: list[dict[str, Any]] = []
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            said = json.loads(line)
            if "case" in said:
                found.append(said)
            else:
                found[-1].update(said)
    ended = done.returncode == 0 and done.stdout.endswith("done\n")
    return found, "" if ended else f"the process ended ({done.returncode}): {done.stderr[-3000:]}"


def check(found: list[dict[str, Any]], said: str) -> None:
    assert not said, (found[-1:], said)
    wrong = [(case["case"], case["about"], case["wrong"]) for case in found if case["wrong"]]
    assert not wrong, f"{len(wrong)} of {len(found)}: " + "\n".join(map(str, wrong[:MOST_TOLD]))


@linux
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(PARTS))
def test_a_mutated_file_is_rows_or_an_error(part: int) -> None:
    found, said = outcomes(part, CASES // PARTS, PARTS)
    check(found, said)
    assert len(found) == CASES // PARTS
    ways = [case[way] for case in found for way in ("read", "raise", "lenient") if way in case]
    assert {"rows", "error"} <= {name for way in ways for name in way}


@linux
def test_a_hostile_file_does_no_harm() -> None:
    found, said = outcomes("hostile")
    check(found, said)
    assert len(found) > 90
