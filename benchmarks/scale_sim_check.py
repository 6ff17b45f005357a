"""The simulator of scale_sim.py beside real runs, on Ray clusters of several nodes on this machine."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import robodf as rd
from benchmarks.measure import DATA, Report, arguments, version
from benchmarks.scale_sim import Costs, Fragment, Machines, Prediction, predict, scaled, shape
from robodf.config import settings
from robodf.frame.frame import PipelineDataFrame
from robodf.optimizer import optimize
from robodf.physical.blocks import unpack
from robodf.physical.cluster import Query
from robodf.physical.cut import Limits, cut
from robodf.physical.exchange import Received
from robodf.physical.ray_runner import OnRay
from robodf.physical.runner import Handle, Runner
from robodf.physical.task import Buckets, Job, Meta, Output, Whole
from robodf.plan.base import Plan
from robodf.plan.expr import Col
from robodf.plan.node import walk
from robodf.plan.nodes.scan import InMemory, Scan

ROWS, PAYLOAD = 20_000, 450  # of a clip; bytes of a row: a clip has about 10 MB
STORE = 400 << 20
BOUNDS: dict[str, Any] = {"small_bytes": 0, "partition_bytes": 120 << 20, "partitions": 4, "progress": False}
CLIPS, CLIP = 100_000_000, 10_000_000


# -- data and queries -------------------------------------------------------------------------------------------


def clips(count: int) -> list[str]:
    """Files of a clip each: motion, and bytes that do not compress."""
    folder = DATA / "scale"
    folder.mkdir(parents=True, exist_ok=True)
    names = [folder / f"clip_{number}.parquet" for number in range(count)]
    for number, name in enumerate(names):
        if not name.exists():
            chance = np.random.default_rng(number)
            noise = chance.bytes(ROWS * PAYLOAD)
            pl.DataFrame(
                {
                    "clip": np.full(ROWS, number),
                    "frame": np.arange(ROWS),
                    "x": chance.normal(size=ROWS),
                    "y": chance.normal(size=ROWS),
                    "image": [noise[k * PAYLOAD : (k + 1) * PAYLOAD] for k in range(ROWS)],
                }
            ).write_parquet(name)
    return [str(name) for name in names]


def project(files: list[str]) -> PipelineDataFrame:
    c = rd.col
    size = c("image").bin.size().alias("bytes")
    return rd.read_parquet(files).filter(c("x") > 3).select(c("clip"), c("frame"), (c("x") ** 2 + c("y") ** 2), size)


def group(files: list[str]) -> PipelineDataFrame:
    second = (rd.col("frame") // 30).alias("second")
    rows = rd.read_parquet(files).with_columns(second)
    return rows.group_by("clip", "second").agg(rd.col("x").mean(), rd.col("y").max(), n=rd.col("x").count())


def join(files: list[str]) -> PipelineDataFrame:
    left = rd.read_parquet(files).select("clip", "frame", "x")
    right = rd.read_parquet(files).filter(rd.col("y") > 1).select("clip", "frame", "y")
    both = left.join(right, on=["clip", "frame"])
    return both.filter(rd.col("x") > 2).select("clip", "frame", "x", "y")


QUERIES: dict[str, Callable[[list[str]], PipelineDataFrame]] = {
    # In this order: a worker keeps the memory that it once had, and each needs more than the one before.
    "join": join, "group-by": group, "filter+project": project,
}  # fmt: skip


# -- running ----------------------------------------------------------------------------------------------------


@dataclass
class Task:
    stage: int
    taken: float
    blocks_in: int
    meta: Meta = field(default_factory=Meta)


class Recorded(Runner):
    """A runner that keeps what each task took and said."""

    name = "ray"

    def __init__(self, inner: OnRay):
        self.inner, self.slots = inner, inner.slots
        self.tasks: list[Task] = []
        self.stages: Sequence[Any] = ()
        self._sizes: dict[bytes, int] = {}
        self._running: dict[bytes, tuple[Task, list[Handle]]] = {}

    def put(self, block: Any) -> Handle:
        return self.inner.put(block)

    def get(self, handle: Handle) -> Any:
        return self.inner.get(handle)

    def submit(self, job: Job, plan: Plan, output: Output, blocks: Mapping[int, Handle]) -> tuple[Any, list[Handle]]:
        taken = sum(self._sizes.get(h.binary(), 0) for h in blocks.values())
        scans = [n for n in walk(plan) if isinstance(n, Scan)]
        taken += sum(s.bytes or 0 for n in scans for s in n.source.splits(n.request))
        first, handles = self.inner.submit(job, plan, output, blocks)
        self._running[first.binary()] = Task(len(self.stages) - 1, taken, len(blocks)), handles
        return first, handles

    def done(self, waiting: Sequence[Any]) -> list[Any]:
        return self.inner.done(waiting)

    def meta(self, done: Any) -> Meta:
        said = self.inner.meta(done)
        task, handles = self._running.pop(done.binary())
        task.meta = said
        self._sizes.update((h.binary(), size) for h, size in zip(handles, said.bytes))
        self.tasks.append(task)
        return said

    def cancel(self, waiting: Sequence[Any], force: bool = False) -> None:
        self.inner.cancel(waiting, force)


@dataclass
class Run:
    """A query that ran: its tasks, what it took, and the most private memory that each worker had."""

    query: Query
    tasks: list[Task]
    seconds: float
    peak: dict[int, int]
    speed: float

    @property
    def given(self) -> float:
        """Bytes of the blocks that went from stage to stage."""
        last = max(t.stage for t in self.tasks)
        return sum(sum(t.meta.bytes) for t in self.tasks if t.stage < last)

    @property
    def blocks(self) -> int:
        return sum(1 + len(t.meta.bytes) for t in self.tasks)


def run(frame: PipelineDataFrame, inner: OnRay, raylets: list[int]) -> Run:
    runner = Recorded(inner)
    with Watch(raylets) as watch:
        started = time.perf_counter()
        query = Query(frame._plan, runner)
        runner.stages = query.stages.reports
        for _ in query.frames():
            pass
        seconds = time.perf_counter() - started
    return Run(query, runner.tasks, seconds, watch.peak, watch.speed)


class Watch(threading.Thread):
    """The workers below some raylets: their private memory; and the share of the time in which they, the raylets and
    this process wanted a core and had one."""

    def __init__(self, raylets: list[int]):
        super().__init__(daemon=True)
        self._raylets, self._ended = raylets, threading.Event()
        self.base = self._now()
        self.peak = dict(self.base)
        self.speed = 1.0

    def _workers(self) -> Iterator[Path]:
        for raylet in self._raylets:
            for pid in Path(f"/proc/{raylet}/task/{raylet}/children").read_text().split():
                with contextlib.suppress(OSError):  # it ended
                    if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::"):
                        yield Path(f"/proc/{pid}")

    def _now(self) -> dict[int, int]:
        found = {}
        for worker in self._workers():
            with contextlib.suppress(OSError, StopIteration):
                found[int(worker.name)] = _private(worker)
        return found

    def _ran(self) -> dict[str, tuple[int, int]]:
        """Nanoseconds of each thread on a core, and waiting for one."""
        found = {}
        others = [Path(f"/proc/{pid}") for pid in (os.getpid(), *self._raylets)]
        for process in [*self._workers(), *others]:
            for thread in process.glob("task/*/schedstat"):
                with contextlib.suppress(OSError):
                    ran, waited, _ = thread.read_text().split()
                    found[str(thread)] = int(ran), int(waited)
        return found

    def run(self) -> None:
        while not self._ended.wait(0.05):
            for pid, size in self._now().items():
                self.peak[pid] = max(size, self.peak.get(pid, 0))

    def __enter__(self) -> Watch:
        self._before = self._ran()
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self.join()
        none = 0, 0
        moved = [
            (r - self._before.get(t, none)[0], w - self._before.get(t, none)[1]) for t, (r, w) in self._ran().items()
        ]
        ran, waited = map(sum, zip(*moved))
        self.speed = ran / max(ran + waited, 1)


@contextlib.contextmanager
def cluster(nodes: int) -> Iterator[tuple[OnRay, list[int]]]:
    """Nodes of one CPU each, and the process numbers of their raylets."""
    import ray
    from ray.cluster_utils import Cluster

    made = Cluster()
    try:
        for number in range(nodes):
            head = {"include_dashboard": False, "no_monitor": True} if number == 0 else {}
            made.add_node(num_cpus=1, object_store_memory=STORE, include_log_monitor=False, **head)
        ray.init(address=made.address, log_to_driver=False, logging_level=logging.ERROR)
        of = [node.all_processes["raylet"][0].process.pid for node in made.list_all_nodes()]
        yield OnRay(), of
    finally:
        ray.shutdown()
        made.shutdown()


# -- measuring --------------------------------------------------------------------------------------------------


def measured_costs(inner: OnRay, raylets: list[int]) -> tuple[Costs, Costs]:
    """The costs of tasks and blocks on a cluster of one slot, and the part of the worker's that is inside of a task."""
    import ray

    row = pl.DataFrame({"a": [1]})
    one = InMemory(row)
    job = Job(settings(), 1)
    schema = tuple(one.schema.items())

    def batch(tasks: int, blocks: int = 1, inputs: int = 0) -> tuple[list[float], list]:
        """Of each task: the driver's seconds, its slot's, those inside of it, those to get its rows; and its blocks."""
        handles = [inner.put(row.to_arrow()) for _ in range(inputs)]
        plan = Received(tuple(range(inputs)), schema) if inputs else one
        output = Buckets((Col("a"),), blocks) if blocks > 1 else Whole()
        given = dict(enumerate(handles))
        made: list = []
        inside, running = 0.0, deque()
        own, block = 0.0, None
        with Watch(raylets) as watch:
            wall = time.perf_counter()
            for number in range(tasks + 2):  # two on their way, as Stages has them
                if number < tasks:
                    began = time.perf_counter()
                    made.append(inner.submit(job, plan, output, given))
                    own += time.perf_counter() - began
                    running.append(made[-1])
                if number >= 2:
                    first, (block, *_) = running.popleft()
                    began = time.thread_time()
                    inner.done([first])
                    own += time.thread_time() - began
                    began = time.perf_counter()
                    inside += inner.meta(first).seconds
                    own += time.perf_counter() - began
            wall = time.perf_counter() - wall
            began = time.perf_counter()
            for _, (block, *_) in made[:20]:
                unpack(inner.get(block), row.schema)
            fetched = (time.perf_counter() - began) / min(20, tasks)
        took = own, wall, inside, fetched * tasks
        took = [t * watch.speed for t in took]
        return [t / tasks for t in took], [b for _, more in made for b in more]

    batch(20, 2)
    null, _ = batch(300)
    before, many = _private(), []
    wide = [0.0] * 4
    for _ in range(5):
        took, blocks = batch(20, 300)
        wide = [a + b / 5 for a, b in zip(wide, took)]
        many += blocks
    grown = (_private() - before) / len(many)
    del many, blocks
    fed, _ = batch(10, inputs=1000)
    sleeping = ray.remote(num_cpus=1)(_sleep).remote(2.0)
    waiting = [inner.submit(job, one, Whole(), {})[0] for _ in range(1000)]
    own = time.thread_time()
    for _ in range(20):
        ray.wait([sleeping, *waiting], num_returns=1, timeout=0, fetch_local=False)
    wait = (time.thread_time() - own) / 20 / 1000
    ray.wait(waiting, num_returns=len(waiting))
    block = [max(0.0, a - b) / 299 for a, b in zip(wide, null)]
    take = [max(0.0, a - b) / 1000 for a, b in zip(fed, null)]
    began = time.perf_counter()
    for _ in range(10):
        Query(one, inner)
    query = (time.perf_counter() - began) / 10
    made = Costs(null[0], block[0], take[0], wait, null[3], query, null[1], block[1], take[1], max(grown, 0.0))
    return made, replace(made, worker_task=null[2], worker_block=block[2], worker_input=take[2])


def _imported(inner: OnRay, nodes: int) -> None:
    """A worker of each node has run tasks."""
    one, job = InMemory(pl.DataFrame({"a": [1]})), Job(settings(), 1)
    for _ in range(3):
        for first, _ in [inner.submit(job, one, Whole(), {}) for _ in range(20 * nodes)]:
            inner.meta(first)


def _sleep(seconds: float) -> None:
    time.sleep(seconds)


def _private(process: Path = Path("/proc/self")) -> int:
    lines = (process / "status").read_text().splitlines()
    return next(int(x.split()[1]) << 10 for x in lines if x.startswith("RssAnon"))


def fragments(run: Run, inside: Costs, base: float) -> list[Fragment]:
    """What the tasks of each stage of a run did with the bytes that they took."""
    largest = max(t.taken for t in run.tasks)
    held = max(0.0, max(run.peak.values()) - base) / largest
    found = []
    for stage in sorted({t.stage for t in run.tasks}):
        tasks = [t for t in run.tasks if t.stage == stage]
        taken = sum(t.taken for t in tasks)
        work = [_work(t, run.speed, inside) for t in tasks]
        logs = [math.log(max(t.meta.seconds, 1e-6)) for t in tasks]
        sigma = statistics.stdev(logs) if len(logs) > 2 else 0.0
        given = sum(sum(t.meta.bytes) for t in tasks)
        found.append(Fragment(sum(work) / taken, given / taken, held, min(sigma, 0.5)))
    return found


def _work(task: Task, speed: float, inside: Costs) -> float:
    """Seconds of a task but for what any task with as many blocks takes."""
    seconds = task.meta.seconds * speed
    other = inside.worker_task + len(task.meta.bytes) * inside.worker_block + task.blocks_in * inside.worker_input
    return max(seconds - other, seconds / 10)


# -- the report -------------------------------------------------------------------------------------------------


def check(report: Report, files: list[str], rounds: int) -> tuple[Costs, dict[str, list[Fragment]]]:
    """Rates from half of the files on one node; then all of them, predicted and run, on 1, 2 and 4 nodes."""
    rates: dict[str, list[Fragment]] = {}
    costs = None
    rows, others, errors = [], [], []
    for nodes in (1, 2, 4):
        with cluster(nodes) as (inner, raylets):
            _imported(inner, nodes)
            if costs is None:
                costs, inside = measured_costs(inner, raylets)
                base = max(Watch(raylets).base.values())
                costs = replace(costs, worker_bytes=base)
                for name, make in QUERIES.items():
                    runs = [run(make(files[: len(files) // 2]), inner, raylets) for _ in range(rounds + 1)][1:]
                    rates[name] = fragments(max(runs, key=lambda r: r.speed), inside, base)
            for name, make in QUERIES.items():
                said, real = [], []
                run(make(files), inner, raylets)  # files into the page cache, workers' memory
                for _ in range(rounds):
                    real.append(run(make(files), inner, raylets))
                    here = Machines(nodes, 1, memory=STORE / 0.3, network=1e12, storage=1e12, cores=os.cpu_count())
                    on = replace(here, speed=real[-1].speed)
                    said.append(predict(shape(real[-1].query.cut), rates[name], on, costs))
                calm = max(range(rounds), key=lambda k: real[k].speed)
                predicted, took, speed = said[calm].seconds, real[calm].seconds, real[calm].speed
                errors.append(predicted / took - 1)
                rows.append([name, nodes, f"{speed:.2f}", f"{predicted:.2f} s", f"{took:.2f} s", f"{errors[-1]:+.0%}"])
                others.append([name, nodes, *_others(said[-1], real[-1])])
    report.say("## Predicted and measured\n")
    report.say(
        f"Rates are of half of the files ({len(files) // 2}) on one node; predicted and run are all {len(files)} on 1, "
        "2 and 4 nodes of one CPU, Polars with one thread in each. All nodes, the driver, Ray's own processes and what "
        f"else runs here share {os.cpu_count()} cores. So the simulator is told that no more tasks go on at once, and, "
        "as the speed of a core, the share of the time in which workers, raylets and driver had a core when they "
        f"wanted one, measured during each run: four nodes are no faster than two here. "
        f"Of {rounds} runs the one with the greatest share.\n"
    )
    report.table(["query", "nodes", "share of a core", "predicted", "measured", "error"], rows)
    of_nodes = {n: [abs(e) for e, row in zip(errors, rows) if row[1] == n] for n in (1, 2, 4)}
    by_nodes = ", ".join(f"{statistics.median(found):.0%} on {n}" for n, found in of_nodes.items())
    report.say(
        f"Median of the absolute errors: {statistics.median(map(abs, errors)):.0%} ({by_nodes}), the largest "
        f"{max(errors, key=abs):+.0%}. Separate machines were not there to compare with: what several nodes do to each "
        "other on shared cores is in these errors, a real network is not.\n"
    )
    report.say("Predicted / measured, of the last run: bytes between stages, private memory of a worker, blocks.\n")
    report.table(["query", "nodes", "bytes", "error", "memory", "error", "blocks", "error"], others)
    assert costs is not None
    return costs, rates


def _others(said: Prediction, real: Run) -> list[str]:
    given = sum(s.given for s in said.stages[:-1])
    working = max(s.working for s in said.stages)
    blocks = sum(s.objects for s in said.stages)
    pairs = [
        (given, real.given, 1e6, "MB"),
        (working, max(real.peak.values()), 1e6, "MB"),
        (blocks, real.blocks, 1, ""),
    ]
    cells = []
    for predicted, measured, unit, name in pairs:
        cells.append(f"{predicted / unit:,.0f} / {measured / unit:,.0f} {name}".strip())
        cells.append(f"{predicted / measured - 1:+.0%}" if measured else "-")
    return cells


def extrapolate(report: Report, costs: Costs, rates: dict[str, list[Fragment]], files: list[str]) -> None:
    """One petabyte of clips on clusters of machines as they are rented."""
    one = Machines(1)
    report.say(f"## {CLIPS:,} clips of {CLIP / 1e6:.0f} MB, 1 PB\n")
    report.say(
        f"Each node: {one.cpus} cores as fast as one here, {one.memory / 1e9:.0f} GB memory ({one.store / 1e9:.0f} GB "
        f"of it for blocks), disk {one.disk / 1e9:.1f} GB/s, network {one.network * 8 / 1e9:.0f} Gbit/s, files from "
        f"an object store at {one.storage / 1e9:.1f} GB/s. Default settings, but nothing is gathered for being small. "
        "What a stage gives grows with what it takes, as here. The last stage writes; writing is not in the seconds. "
        "Both sides of the join read all clips.\n"
    )
    for name, make in QUERIES.items():
        report.say(f"### {name}\n")
        report.table(
            ["nodes", *_HEAD],
            [[nodes, *_row(make(files), rates[name], replace(one, nodes=nodes), costs, CLIPS)] for nodes in _NODES],
        )
    report.say("**!** does not fit into the memory of a machine: such a run fails, whatever time is predicted.\n")
    flight = 2 * _NODES[-1] * one.cpus
    each = costs.driver_task + flight * costs.driver_wait
    report.say("## What limits\n")
    report.say(
        f"- The driver hands out at most {1 / costs.driver_task:,.0f} tasks a second, and {1 / each:,.0f} with "
        f"{flight:,} of them on their way: each time that one ends it looks at all of them.\n"
        f"- A shuffle makes a block for each task and partition, {costs.block_bytes / 1e3:.1f} kB of the driver's "
        f"memory each: {one.memory / costs.block_bytes:,.0f} of them fill a machine.\n"
        f"- A listing takes {costs.file_bytes:.0f} B and {costs.file_seconds * 1e6:.0f} us for each file: "
        f"{_bytes(CLIPS * costs.file_bytes)} and {_time(CLIPS * costs.file_seconds)} for {CLIPS:,}.\n"
        "- Not simulated: lost nodes, uneven keys, a storage that slows down, Ray's own control plane at 1,000 nodes.\n"
    )
    report.say("## How far one driver goes: the group-by on 100 nodes\n")
    report.table(
        ["clips", *_HEAD],
        [[f"{n:,} ({_bytes(n * CLIP)})", *_row(group(files), rates["group-by"], replace(one, nodes=100), costs, n)]
         for n in (10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)],
    )  # fmt: skip


_NODES = (1, 10, 100, 1000)
_HEAD = ["time", "longest stage", "limited by", "tasks that read", "partitions", "network a node",
         "memory of a node", "blocks at once", "memory of the driver"]  # fmt: skip


def _row(frame: PipelineDataFrame, rates: list[Fragment], on: Machines, costs: Costs, count: int) -> list[str]:
    bounds = Limits(on.slots, settings().partition_bytes, 0)
    plan = shape(cut(optimize(frame._plan), Limits(on.slots, BOUNDS["partition_bytes"], 0, BOUNDS["partitions"])))
    plan[-1] = replace(plan[-1], name="write", in_order=False)
    stages = scaled(plan, count * sum(s.file_bytes > 0 for s in plan), CLIP, bounds)
    said = predict(stages, rates, on, costs)
    name = "Shuffle" if "Shuffle" in said.longest.name else said.longest.name
    return [
        _time(said.seconds),
        f"{name}, {_time(said.longest.seconds)}",
        said.limit,
        f"{sum(s.tasks for s in stages if s.files):,}",
        f"{stages[-1].tasks:,}" if len(stages) > 1 else "-",
        _bytes(said.network / on.nodes),
        _bytes(said.memory) + _over(said.memory, on.memory),
        f"{said.objects:,.2g}",
        _bytes(said.driver_memory) + _over(said.driver_memory, on.memory),
    ]


def _over(size: float, memory: float) -> str:
    return " **!**" if size > memory else ""


def _time(seconds: float) -> str:
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.1f} s"


def _bytes(size: float) -> str:
    for unit, scale in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9)):
        if size >= scale:
            return f"{size / scale:,.1f} {unit}"
    return f"{size / 1e6:,.0f} MB"


def main() -> None:
    """Check the simulator, then ask it."""
    options = arguments(sys.modules["__main__"].__doc__, clips=16, rounds=1)
    count, rounds = (96, 5) if options.full else (options.clips, options.rounds)
    report = Report("scale_sim", "A simulator of clusters, and how far it is from real runs", options)
    report.say(
        f"ray {version('ray')}. All nodes of the real runs are processes of this machine of {os.cpu_count()} cores.\n"
    )
    os.environ["POLARS_MAX_THREADS"] = "1"  # of the workers, which are to use the one core of their slot
    with rd.config(engine="ray", **BOUNDS):
        files = clips(count)
        costs, rates = check(report, files, rounds)
    report.say("## Measured for each task and block\n")
    shown = vars(costs)
    report.table(list(shown), [[f"{v * 1e6:,.2f} us" if "bytes" not in k else f"{v:,.0f} B" for k, v in shown.items()]])
    report.say("## Measured for each stage\n")
    report.table(
        ["query, stage", "files or blocks, MB/s a core", "bytes given for one taken", "bytes held for one", "spread"],
        [[f"{q}, {k}", f"{1e-6 / max(f.seconds, 1e-15):,.0f}", f"{f.out:.3g}", f"{f.memory:.2f}", f"{f.sigma:.2f}"]
         for q, found in rates.items() for k, f in enumerate(found)],
    )  # fmt: skip
    extrapolate(report, costs, rates, files)
    report.end()
