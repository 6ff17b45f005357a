"""Mutated copies of real logs give a clear error or a stated partial result: no crash, no hang, no runaway memory.

4,000 cases each time; ROBODF_MUTATED_LOGS sets another number (`make test-long`: 40,000).
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

CASES = int(os.environ.get("ROBODF_MUTATED_LOGS", "4000"))
PARTS = 8
HANG = 10.0  # seconds for one case, as a user would wait
MEMORY = 1 << 30  # bytes resident


def _resident(process: subprocess.Popen[str]) -> int:
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


@pytest.mark.timeout(3600)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is watched by /proc, which Linux has")
@pytest.mark.parametrize("part", range(PARTS))
def test_a_mutated_log_is_an_error_or_a_part(real_data, part: int) -> None:
    script = str(Path(__file__).with_name("mutated_logs.py"))
    command = [sys.executable, script, str(real_data), str(part), str(CASES // PARTS), str(PARTS)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=lambda: [lines.put(line) for line in process.stdout or ()], daemon=True).start()
    errors: list[str] = []
    threading.Thread(target=lambda: errors.extend(process.stderr or ()), daemon=True).start()
    about: dict[str, Any] = {"case": "none yet"}
    seen = 0
    try:
        # The first line waits for the import, and the peak is of the whole process, its start included.
        line = lines.get(timeout=120)
        while line.strip() != "done":
            said = json.loads(line)
            if "case" in said:
                about = said
            else:
                _check(about, said)
                seen += 1
            assert _resident(process) < MEMORY, about
            line = _next(lines, process, about, errors)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    assert seen == CASES // PARTS


def _next(lines: queue.Queue[str], process: subprocess.Popen[str], about: dict[str, Any], errors: list[str]) -> str:
    waited = 0.0
    while True:
        try:
            return lines.get(timeout=0.5)
        except queue.Empty:
            waited += 0.5
            said = "".join(errors[-30:])
            assert process.poll() is None, f"{about} ended the process ({process.returncode}): {said}"
            # Both ways to read it are one case: twice the time, and as much again for a busy machine.
            assert waited < 4 * HANG, f"{about} hangs"


def _check(about: dict[str, Any], outcome: dict[str, Any]) -> None:
    strict, lenient = outcome["raise"], outcome["collect"]
    for found in (strict, lenient):
        if isinstance(found, str):
            assert len(found) < 3_000, (about, found)
            assert "internal error" not in found, (about, found)
    if about["what"] == "rows" and not isinstance(lenient, str):
        rows, problems = lenient
        # What was lost is told. SQLite has no checksums: a row whose page says that it is not there is not missed; nor
        # is one in the small files of the conformance suite that have neither an index nor statistics nor checksums.
        if rows < outcome["whole"] and not about["file"].endswith(".db3") and not about["bare"]:
            assert problems, (about, outcome)
