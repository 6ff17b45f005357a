"""The process of a peer, as benchmarks/ray.py sees it: started, asked, given up on, ended with all it started."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from typing import Any

from benchmarks.measure import HERE
from benchmarks.ray_peers.watch import descendants


class Process:
    """`spec` is what serve.py takes. `limit`: seconds that an answer may take. This process must be a subreaper."""

    def __init__(self, python: str, spec: dict[str, Any], limit: float):
        self._limit, self._late = limit, False
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by end()
        # Settings that this shell has for Ray or a peer (an address, say) would change what is compared.
        ours = ("RAY_", "DAFT_", "POLARS_", "ROBODF_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.ray_peers.serve", json.dumps(spec)], cwd=HERE.parent, env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
        )  # fmt: skip

    def hear(self) -> dict[str, Any]:
        """The next answer; TimeoutError where there is none in time, RuntimeError where the peer failed."""
        assert self._process.stdout is not None
        timer = threading.Timer(self._limit, self._give_up)
        timer.start()
        try:
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        if self._late:
            raise TimeoutError(f"no answer in {self._limit:.0f} s")
        if not line:
            self._errors.seek(0)
            raise RuntimeError("ended: " + " ".join(self._errors.read().strip().splitlines()[-1:]))
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def ask(self, **job: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it ended: hear() says how
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
        return self.hear()

    def _give_up(self) -> None:
        self._late = True  # before the kill, which is what ends the wait for an answer
        self._kill()

    def _kill(self) -> None:
        # The driver first, so that it restarts nothing. What escapes the list is stopped by end().
        for pid in (self._process.pid, *descendants(self._process.pid)):
            _signal(pid)

    def end(self) -> None:
        """Let it stop its cluster, then stop whatever is left."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()
        give_up = time.monotonic() + 30
        while (left := descendants(os.getpid())) and time.monotonic() < give_up:
            for pid in left:
                _signal(pid)
                _reap(pid)
            time.sleep(0.05)


def _signal(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # a child of another process that is ending too
