"""Other libraries beside robodf, in an interpreter of their own: they are no dependencies of this project.

    python -m venv /tmp/peers
    /tmp/peers/bin/pip install "daft[mcap]" "ray[data]" rerun-sdk "datafusion==54.*" pandas mcap-ros2-support rosbags \\
        rosbags-dataframe
    python -m benchmarks.logs --peers /tmp/peers/bin/python

This file starts that interpreter; `rivals.py` is what it runs: a job a line, answered with seconds and rows.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.measure import Pair


class Peer:
    """The other interpreter, kept running so that its imports are not timed. `reason` says why it is absent."""

    def __init__(self, python: str | None):
        self.reason = ""
        self.versions: dict[str, str] = {}
        self._process: subprocess.Popen[str] | None = None
        if python is None:
            self.reason = "no --peers given"
            return
        if not Path(python).exists():
            self.reason = f"{python} does not exist"
            return
        # -P: or `import mcap` would find benchmarks/mcap.py
        script = str(Path(__file__).with_name("rivals.py"))
        self._process = subprocess.Popen(
            [python, "-P", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        hello = self._process.stdout.readline() if self._process.stdout else ""
        if not hello:
            self.reason = f"{python} {script} does not start"
            self._process = None
        else:
            self.versions = json.loads(hello)

    def __bool__(self) -> bool:
        return self._process is not None

    def has(self, *packages: str) -> bool:
        """Whether that interpreter has them all."""
        return self._process is not None and all(p in self.versions for p in packages)

    def run(self, **job: Any) -> dict[str, Any]:
        """Seconds and rows of one job; RuntimeError where it failed there."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the interpreter of the peers ended in {job}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{job}: {answer['error']}")
        return answer

    def beside(self, ours: Callable[[], Any], rounds: int = 3, **job: Any) -> Pair:
        """Ours and the other by turns, after one run of each that is not counted."""
        from benchmarks.measure import Pair, clocks

        turns = [(clocks(ours), self.run(**job)) for _ in range(rounds + 1)][1:]
        cpu = tuple(a / b["cpu"] for (_, a), b in turns)
        return Pair(tuple(a for (a, _), _ in turns), tuple(b["seconds"] for _, b in turns), cpu)

    def end(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()
