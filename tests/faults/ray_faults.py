"""Faults of workers, and queries for them to happen to."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import robodf as rd
from robodf import col
from robodf.io.mcap.writer import McapWriter
from robodf.physical.cluster import Query, on_ray
from robodf.physical.stages import StageReport

CUT = {"partition_bytes": 1 << 20, "small_bytes": 0, "partitions": 3, "progress": False}
"""Settings under which each file of `tables` is a task, and all that can be shuffled is, in blocks that Ray stores:
those below 100 KiB travel with the answer of their task and are never lost."""

FILES, ROWS = 4, 30_000
RECORDINGS, MESSAGES = 4, 2_000


# -- faults ---------------------------------------------------------------------------------------------------


def faulty(folder: Path) -> Callable[[], None]:
    """What workers run at their start (`worker_setup`): their tasks then fail as `Faults(folder).set(...)` says."""
    at = str(folder)

    def setup() -> None:
        import errno
        import json
        import os
        import signal
        import time
        from contextlib import suppress

        from robodf.io import files, sink_part
        from robodf.physical import task
        from robodf.physical.exchange import Received
        from robodf.physical.keeping import FromStore
        from robodf.physical.writing import Writing
        from robodf.plan.node import walk
        from robodf.plan.nodes.scan import Scan

        leaves = {"scan": False, "received": False}  # of the task that this process runs

        def mine(wanted: dict) -> bool:
            """Whether it is this task's turn to fail: so often over all processes, or so often in one process."""
            if wanted["of_one"]:
                with suppress(FileExistsError), open(f"{at}/{wanted['name']}.owner", "x") as file:
                    file.write(str(os.getpid()))
                with open(f"{at}/{wanted['name']}.owner") as file:
                    if file.read() != str(os.getpid()):
                        return False
            for number in range(wanted["times"]):
                with suppress(FileExistsError), open(f"{at}/{wanted['name']}.{number}", "x") as file:
                    json.dump({"pid": os.getpid(), "node": _node()}, file)
                    return True
            return False

        def _node() -> str:
            import ray

            return ray.get_runtime_context().get_node_id()

        def strike(place: str) -> None:
            try:
                with open(f"{at}/fault.json") as file:
                    wanted = json.load(file)
            except FileNotFoundError:
                return
            if wanted["place"] != place or not mine(wanted):
                return
            if wanted["kind"] == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            elif wanted["kind"] == "exit":
                os._exit(7)
            elif wanted["kind"] == "io":
                raise OSError(errno.EIO, "Input/output error", "a disk of the test")
            elif wanted["kind"] == "hang":
                time.sleep(600)

        bind, run, whole, in_buckets = task.bind, task.run, task.Output.run, task.Buckets.run
        write, write_files = Writing.run, sink_part.write_files
        read_at = files.FileReader.read_at

        def bind_and_look(plan: Any, blocks: Any) -> Any:
            leaves["received"] = any(isinstance(n, (Received, FromStore)) for n in walk(plan))
            leaves["scan"] = any(isinstance(n, Scan) for n in walk(plan))
            return bind(plan, blocks)

        def run_and_fail(query: Any) -> Any:
            frame = run(query)  # first all the work, so that it is lost
            if leaves["scan"]:
                with open(f"{at}/scans", "a") as file:
                    file.write("x")
            for place in ("scan", "received"):
                if leaves[place]:
                    strike(place)
            return frame

        def finish_and_fail(self: Any, query: Any) -> Any:
            made = whole(self, query)
            if leaves["received"]:
                strike("final")
            return made

        def bucket_and_fail(self: Any, query: Any) -> Any:
            made = in_buckets(self, query)
            strike("exchange")
            return made

        def write_files_and_fail(*of_part: Any) -> Any:
            made = write_files(*of_part)
            strike("final")
            return made

        def write_and_fail(self: Any, query: Any) -> Any:
            made = write(self, query)
            strike("sink")
            return made

        def fail_and_read(self: Any, offset: int, length: int) -> bytes:
            strike("bytes")
            return read_at(self, offset, length)

        task.bind, task.run = bind_and_look, run_and_fail
        task.Output.run, task.Buckets.run = finish_and_fail, bucket_and_fail  # type: ignore[method-assign]
        sink_part.write_files, Writing.run = write_files_and_fail, write_and_fail  # type: ignore[method-assign]
        files.FileReader.read_at = fail_and_read  # type: ignore[method-assign]

    return setup


@dataclass
class Faults:
    """The fault that the workers of a cluster have now."""

    folder: Path
    name: str = ""

    def set(self, kind: str, place: str, times: int = 1, of_one: bool = False) -> None:
        """`kind` kill (by SIGKILL), exit, io or hang happens `times` times at a `place`.

        bytes: a log is read; scan: a scan has been read; exchange: rows are in buckets; received: received rows have
        been worked on, for another exchange or not; final: so has the last fragment, and in a write its files are
        there, of which nobody knows; sink: a partition has been written. With `of_one` all in one process.
        """
        self.name = f"fault{len(list(self.folder.glob('*.set')))}"
        (self.folder / f"{self.name}.set").touch()
        wanted = {"kind": kind, "place": place, "times": times, "of_one": of_one, "name": self.name}
        made = self.folder / "fault.new"
        made.write_text(json.dumps(wanted))
        made.replace(self.folder / "fault.json")

    def clear(self) -> None:
        (self.folder / "fault.json").unlink(missing_ok=True)

    @property
    def happened(self) -> list[dict]:
        """The process and the node of each fault that happened."""
        found = sorted(self.folder.glob(f"{self.name}.[0-9]*"))
        return [json.loads(path.read_text() or "{}") for path in found]

    @property
    def scans(self) -> int:
        """How many scans have been read by all tasks so far, but for those that a task writes straight to files."""
        made = self.folder / "scans"
        return made.stat().st_size if made.exists() else 0


# -- other drivers --------------------------------------------------------------------------------------------

_DRIVER = """
import sys
from pathlib import Path

sys.path[:0] = sys.argv[1].split(":")
import ray
import ray_faults
import robodf as rd

ray.cloudpickle.register_pickle_by_value(ray_faults)
data, folder = Path(sys.argv[3]), Path(sys.argv[4])
setup = {"worker_process_setup_hook": ray_faults.faulty(Path(sys.argv[5]))}
ray.init(address=sys.argv[2], log_to_driver=False, runtime_env=setup)
with rd.config(**ray_faults.CUT):
"""


def driver(code: str, cluster: Any, data: Path, folder: Path) -> subprocess.Popen[str]:
    """A process of its own that runs `code` on a faulty cluster; there are `rd`, `ray_faults`, `data` and `folder`."""
    paths = ":".join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    program = _DRIVER + textwrap.indent(textwrap.dedent(code), "    ")
    command = [sys.executable, "-c", program, paths, cluster.cluster.address]
    command += map(str, (data, folder, cluster.folder))
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> str:
    """What a process that ended wrote of why."""
    return f"ended with {process.returncode}: {process.communicate()[1]}"


# -- functions for map_batches --------------------------------------------------------------------------------


def beating(folder: Path) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """A function that works for two minutes and writes that it does: a file of its process grows."""
    at = str(folder)

    def beat(frame: pl.DataFrame) -> pl.DataFrame:
        import os
        import time

        with open(f"{at}/beat-{os.getpid()}", "ab", buffering=0) as file:
            for _ in range(2400):
                file.write(b"x")
                time.sleep(0.05)
        return frame

    return beat


def beats(folder: Path) -> int:
    """How often functions have beaten so far."""
    return sum(path.stat().st_size for path in folder.glob("beat-*"))


def falls_silent(folder: Path, within: float = 15) -> bool:
    """Whether nobody beats any more, soon."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        before = beats(folder)
        time.sleep(0.6)
        if beats(folder) == before:
            return True
    return False


# -- data and queries -----------------------------------------------------------------------------------------


def tables(folder: Path) -> Path:
    """Parquet files `samples-*` and `names-*`, and logs `run-*` with /camera and /imu. All sums are of integers."""
    random = np.random.default_rng(7)
    keys = FILES * ROWS // 3
    for number in range(FILES):
        first = number * ROWS
        made = {
            "id": np.arange(first, first + ROWS),
            "key": random.integers(0, keys, ROWS),
            "t": random.permutation(ROWS) * FILES + number,
            "robot": random.integers(0, 60, ROWS),
            "value": random.integers(-(10**9), 10**9, ROWS),
        }
        pl.DataFrame(made).write_parquet(folder / f"samples-{number}.parquet")
    for number, part in enumerate(np.array_split(random.permutation(keys), FILES)):
        names = pl.DataFrame({"key": part, "size": part * 3, "name": [f"a thing with the number {k}" for k in part]})
        names.write_parquet(folder / f"names-{number}.parquet")
    for number in range(RECORDINGS):
        with McapWriter(folder / f"run-{number}.mcap", chunk_size=8_000, profile="ros2") as out:
            kind = out.add_schema("my_msgs/msg/X", "ros2msg", b"float64 x\n")
            topics = [out.add_channel(topic, "cdr", kind) for topic in ("/camera", "/imu")]
            for i in range(MESSAGES):
                at = 10**18 + number * 10**12 + i * 10**6
                out.write(topics[i % 5 != 0], at, b"\0\1\0\0" + np.float64(i).tobytes(), publish_time=at, sequence=i)
    return folder


Before = Callable[[rd.PipelineDataFrame], rd.PipelineDataFrame]
"""What is done to the samples before the query."""


def samples(folder: Path) -> rd.PipelineDataFrame:
    return rd.read_parquet(str(folder / "samples-*.parquet"))


def group_by(folder: Path, before: Before = lambda df: df) -> rd.PipelineDataFrame:
    return (
        before(samples(folder)).group_by("key").agg(total=col("value").sum(), last=col("id").max(), n=col("id").len())
    )


def join(folder: Path, before: Before = lambda df: df) -> rd.PipelineDataFrame:
    return before(samples(folder)).join(rd.read_parquet(str(folder / "names-*.parquet")), on="key", how="left")


def align(folder: Path, before: Before = lambda df: df) -> rd.PipelineDataFrame:
    """Streams that are cut by their robot."""
    df = before(samples(folder))
    streams = {
        "camera": df.filter(col("id") % 5 == 0).select("robot", "t", "key"),
        "imu": df.select("robot", "t", "value"),
    }
    return rd.align(streams, "camera", on="t", by="robot", method="nearest", tolerance=200)  # fmt: skip


def align_logs(folder: Path) -> rd.PipelineDataFrame:
    """Topics of recordings, each of which stays whole: no exchange."""
    logs = str(folder / "run-*.mcap")
    streams = {topic: rd.read_log(logs, topic=f"/{topic}") for topic in ("camera", "imu")}
    return rd.align(streams, "camera", tolerance="5ms")


def dedup(folder: Path, before: Before = lambda df: df) -> rd.PipelineDataFrame:
    return before(samples(folder)).dedup(on="key")


def scans_of(name: str) -> int:
    """How many tasks read files for a query, if none is lost."""
    return {"align": 2 * FILES, "join": FILES + 1}.get(name, FILES)


QUERIES = {q.__name__: q for q in (group_by, join, align, dedup)}
ORDERED = ("align", "align_logs", "dedup")
"""The queries whose rows have an order."""


def with_function(name: str, place: str, function: Callable[[pl.DataFrame], pl.DataFrame], folder: Path) -> Any:
    """A query with a user's function: in its scan, in tasks from one exchange to another, or in its last fragment."""
    query = QUERIES[name]
    if place == "scan":
        return query(folder, lambda df: df.map_batches(function, None, preserves_rows=True))
    after = query(folder).map_batches(function, None, preserves_rows=True)
    return after if place == "final" else after.group_by("total" if name == "group_by" else "t").len()


def pairs(places: Iterable[str], fast: Collection[tuple[str, str]] = ()) -> list[Any]:
    """Each query with each place, as parameters; all but those in `fast` are left out of `make test`."""
    each = itertools.product(QUERIES, places)
    return [pytest.param(*pair, marks=() if pair in fast else pytest.mark.slow) for pair in each]


def alike(name: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of a query, in an order that any two runs share."""
    return rows if name in ORDERED else rows.sort(pl.all())


def collect(frame: rd.PipelineDataFrame) -> tuple[pl.DataFrame, list[StageReport]]:
    """The rows of a frame on the cluster that this process is connected to, and what its stages did."""
    query = Query(frame._plan, on_ray())
    rows = pl.concat(list(query.frames()))
    return rows, query.stages.reports
