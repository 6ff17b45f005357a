"""One peer in a process of its own, with a Ray cluster of its own where it needs one.

    python -m benchmarks.ray_peers.serve '{"module": "on_core", "cluster": {...}, "options": {...}}'

Started by benchmarks/ray.py, by the interpreter that has the peer's library. Says how long the cluster took to start,
then answers a job a line: the query runs, its rows go to a file (which is not timed), its seconds to the output.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import json
import sys
import time
from typing import Any


def main() -> None:
    spec = json.loads(sys.argv[1])
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # libraries print progress, and answers are lines
        elapsed = _start(spec["cluster"]) if spec["cluster"] else 0.0
        peer = importlib.import_module(f"benchmarks.ray_peers.{spec['module']}")
        peer.setup(**spec["options"])
        print(json.dumps({"init": elapsed, "versions": _versions(peer.PACKAGES)}), file=answers, flush=True)
        for line in sys.stdin:
            print(json.dumps(_answer(peer, json.loads(line))), file=answers, flush=True)
        if spec["cluster"]:
            import ray

            ray.shutdown()


def _start(cluster: dict[str, Any]) -> float:
    """A cluster of our own ("local": or Ray joins whatever runs on this machine); the seconds that it took."""
    import ray

    attempts = 3
    while True:
        started = time.perf_counter()
        try:
            ray.init("local", include_dashboard=False, log_to_driver=False, **cluster)
            return time.perf_counter() - started
        except Exception as error:
            # Ray gives a node 30 seconds to start, which a busy machine can exceed, and raises a bare Exception.
            attempts -= 1
            if "timed out during startup" not in str(error) or not attempts:
                raise
            ray.shutdown()


def _answer(peer: Any, job: dict[str, Any]) -> dict[str, Any]:
    started = time.perf_counter()
    try:
        result = getattr(peer, job["query"])(job)
        answer: dict[str, Any] = {"seconds": time.perf_counter() - started, "count": None}
        if isinstance(result, int):
            answer["count"] = result
        elif result is not None:
            _save(result, job["result"])
    except Exception as error:  # noqa: BLE001 - whatever a library raises is told to the benchmark
        cause = getattr(error, "cause", None) or error  # of a task of Ray: what it raised, not the traceback
        return {"error": f"{type(cause).__name__}: {cause}"[:2000]}
    return answer


def _save(result: Any, path: str) -> None:
    import pyarrow.parquet as pq

    pq.write_table(result.to_arrow() if hasattr(result, "to_arrow") else result, path)


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    return {package: importlib.metadata.version(package) for package in packages}


if __name__ == "__main__":
    main()
