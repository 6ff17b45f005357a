"""Daft beside robodf, in an interpreter of its own: it is no dependency of this project.

    python -m venv /tmp/peers && /tmp/peers/bin/pip install daft mcap
    python -m benchmarks.mcap --peers /tmp/peers/bin/python

This file is also what that interpreter runs: it reads one job a line and answers with seconds and rows.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.measure import Pair


class Peer:
    """The other interpreter, kept running so that its imports are not timed. `reason` says why it is absent."""

    def __init__(self, python: str | None):
        self.reason, self.version = "", ""
        self._process: subprocess.Popen[str] | None = None
        if python is None:
            self.reason = "no --peers given"
            return
        if not Path(python).exists():
            self.reason = f"{python} does not exist"
            return
        # -P: or `import mcap` would find benchmarks/mcap.py
        self._process = subprocess.Popen(
            [python, "-P", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        hello = self._process.stdout.readline() if self._process.stdout else ""
        if not hello:
            error = self._process.communicate()[1].strip().splitlines()
            self.reason = f"daft is not importable there: {error[-1] if error else 'no message'}"
            self._process = None
        else:
            self.version = json.loads(hello)["daft"]

    def __bool__(self) -> bool:
        return self._process is not None

    def run(self, **job: Any) -> dict[str, Any]:
        """Seconds and rows of one job; RuntimeError where it failed there."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"daft ended: {self._process.stderr.read() if self._process.stderr else ''}")
        return json.loads(line)

    def beside(self, ours: Callable[[], Any], rounds: int = 3, **job: Any) -> Pair:
        """Ours and the other by turns, after one run of each that is not counted."""
        from benchmarks.measure import Pair, seconds

        turns = [(seconds(ours), self.run(**job)["seconds"]) for _ in range(rounds + 1)][1:]
        return Pair(tuple(a for a, _ in turns), tuple(b for _, b in turns))

    def end(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()


def _serve() -> None:
    import daft  # pyright: ignore[reportMissingImports] - of the other interpreter

    print(json.dumps({"daft": daft.__version__}), flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        started = time.perf_counter()
        frame = daft.read_mcap(job["path"], topics=job.get("topics"))
        table = frame.select(*job["columns"]).to_arrow()
        print(json.dumps({"seconds": time.perf_counter() - started, "rows": table.num_rows}), flush=True)


if __name__ == "__main__":
    _serve()
