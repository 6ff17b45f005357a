"""What a query would take on clusters that are not there: a simulator, and how far it is from real runs.

    python -m benchmarks.scale_sim --full --write

It takes a physical plan (`robodf.physical.cut`), rates measured for each of its fragments, costs measured for each task
and block, and a description of a cluster. Nothing in the library depends on it.

A stage is simulated task by task: one driver submits them and takes note of those that end, two for each slot at a time
as `robodf.physical.stages` does; a task computes at the rate of its fragment, reads files and takes blocks at its share
of the bandwidth of its node, and spills what the object store of its node cannot hold. Stages follow each other.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from robodf.io.source import Split
from robodf.physical.cut import Cut, Limits
from robodf.physical.cut.pieces import _LEAST
from robodf.physical.exchange import Broadcast, ByHash, ByRange, Counted, Exchange, Gather, Pieces, Rebatched
from robodf.physical.sizes import PACKED
from robodf.plan.base import Plan, parents_first
from robodf.plan.nodes.scan import Scan
from robodf.plan.nodes.shared import Shared

# -- what is simulated ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Machines:
    """A cluster. Bandwidths are bytes a second of one node; `speed` is that of a core, 1 where rates were measured.
    `cores` is what all nodes have together where they are processes of one machine (None: each node has its own)."""

    nodes: int
    cpus: int = 16
    memory: float = 64e9
    disk: float = 2e9
    network: float = 3.1e9  # 25 Gbit/s
    storage: float = 1.5e9  # from the object store that has the files
    speed: float = 1.0
    cores: int | None = None

    @property
    def running(self) -> int:
        """Tasks that make progress at once."""
        return self.slots if self.cores is None else min(self.slots, self.cores)

    @property
    def slots(self) -> int:
        return self.nodes * self.cpus

    @property
    def store(self) -> float:
        """Ray's share of the memory for blocks."""
        return 0.3 * self.memory


@dataclass(frozen=True)
class Costs:
    """Seconds and bytes of what is done for each task, block and file whatever is in it. `driver_*`: one after the
    other, by the driver; `worker_*`: in the slot of the task."""

    driver_task: float
    driver_block: float  # made by a task
    driver_input: float  # given to a task
    driver_wait: float  # for each task that is on its way, each time that one ends
    driver_get: float  # rows of a task of the result
    query: float  # before its first task
    worker_task: float
    worker_block: float
    worker_input: float
    block_bytes: float  # of the driver's memory
    file_bytes: float = 580.0  # of the driver's memory, measured with a million files (tests/io/test_many_files.py)
    file_seconds: float = 15e-6  # to list and to cut
    worker_bytes: float = 250e6  # of a worker that does nothing


@dataclass(frozen=True)
class Fragment:
    """What the tasks of a stage do with each byte that they take, from files or from blocks."""

    seconds: float
    out: float  # bytes given
    memory: float  # bytes held at most
    sigma: float = 0.2  # how much tasks of the same size differ: deviation of the logarithm of their seconds


@dataclass(frozen=True)
class Input:
    """Blocks of another stage: `bucket`, one of each of its tasks; `all` of them; or its `own` one."""

    stage: int
    how: str


@dataclass(frozen=True)
class Stage:
    """Tasks between two exchanges, all together: bytes of files, and of the columns that are wanted of these; `size`
    is the plan's own estimate of what they give. `in_order`: the driver waits for them one after the other."""

    name: str
    tasks: int
    file_bytes: float
    read_bytes: float
    files: int
    inputs: tuple[Input, ...]
    blocks: int
    size: float
    in_order: bool = False


def shape(cut: Cut) -> list[Stage]:
    """The stages of a cut plan, in the order in which they run."""
    stages: list[Stage] = []
    of: dict[int, int] = {}
    for n in reversed(parents_first(cut.plan)):
        parts = cut.items[id(n.input)].place.parts if isinstance(n, Exchange) and not isinstance(n, Pieces) else 0
        if not parts or not _is_stage(n, parts):
            continue
        assert isinstance(n, Exchange)
        if isinstance(n, ByRange):  # first the rows and a sample of their keys, then the ranges
            stages.append(_stage(cut, n.input, f"{n.label()}, sample", 1, of))
            whole = stages[-1]
            stages.append(replace(whole, name=n.label(), file_bytes=0, read_bytes=0, files=0, blocks=n.partitions,
                                  inputs=(Input(len(stages) - 1, "own"),)))  # fmt: skip
        else:
            blocks = n.partitions if isinstance(n, ByHash) else 1
            stages.append(_stage(cut, n.input, n.label(), blocks, of))
        of[id(n)] = len(stages) - 1
    stages.append(replace(_stage(cut, cut.plan, "result", 1, of), in_order=True))
    return stages


def _is_stage(n: Plan, parts: int) -> bool:
    if isinstance(n, Gather):
        return parts > 1
    return isinstance(n, (Broadcast, ByHash, ByRange, Counted, Rebatched, Shared))


def _stage(cut: Cut, top: Plan, name: str, blocks: int, of: dict[int, int]) -> Stage:
    size, wanted, files = 0.0, 0.0, 0
    inputs: dict[int, Input] = {}
    pending, seen = [top], set()
    while pending:
        n = pending.pop()
        if id(n) in seen:
            continue
        seen.add(id(n))
        if id(n) in of:
            whole = "all" if isinstance(n, (Gather, Broadcast)) else "own"
            inputs[of[id(n)]] = Input(of[id(n)], "bucket" if isinstance(n, (ByHash, ByRange)) else whole)
            continue
        scan = n.input if isinstance(n, Pieces) else n
        if not isinstance(scan, Scan):
            pending += n.inputs()
            continue
        splits = [s for piece in n.pieces for s in piece] if isinstance(n, Pieces) else list(_splits(scan))
        here = sum(s.bytes or 0 for s in splits)
        size, wanted, files = size + here, wanted + here * _share(scan, splits), files + len(splits)
    item = cut.items[id(top)]
    return Stage(name, item.place.parts, size, wanted, files, tuple(inputs.values()), blocks, item.size)


def _splits(scan: Scan) -> Iterator[Split]:
    return scan.source.splits(scan.request)


def _share(scan: Scan, splits: Sequence[Split]) -> float:
    """How much of its files a scan reads, by the first of them."""
    if not splits:
        return 1.0
    report = scan.source.part(tuple(splits[:1])).report(scan.request)
    return report.bytes / report.total_bytes if report.bytes and report.total_bytes else 1.0


def scaled(stages: list[Stage], files: int, file_bytes: float, limits: Limits) -> list[Stage]:
    """The same plan over more files, cut as `robodf.physical.cut` would; the smallest table of a join grows as well."""
    before = sum(s.file_bytes for s in stages)
    factor = files * file_bytes / before
    made: list[Stage] = []
    for s in stages:
        new = replace(s, file_bytes=s.file_bytes * factor, read_bytes=s.read_bytes * factor, size=s.size * factor)
        if s.file_bytes:
            total = new.file_bytes
            enough = min(max(total / (4 * limits.cpus), _LEAST), max(limits.partition_bytes // PACKED, 1))
            count = math.ceil(total / file_bytes)
            tasks = math.ceil(count / max(1, enough // file_bytes))
            new = replace(new, tasks=tasks, files=count)
        made.append(new)
    for k, s in enumerate(made):
        if s.blocks > 1:  # the shuffles that meet in one stage have as many partitions
            met = [i.stage for t in made for i in t.inputs if any(j.stage == k for j in t.inputs)]
            parts = limits.partitions_for(sum(made[m].size for m in dict.fromkeys(met)))
            made[k] = replace(s, blocks=parts)
    for k, s in enumerate(made):
        shuffled = [made[i.stage].blocks for i in s.inputs if i.how == "bucket"]
        if shuffled:
            made[k] = replace(s, tasks=max(shuffled))
    return made


# -- the simulation ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StagePrediction:
    name: str
    tasks: int
    seconds: float
    limit: str  # what takes most of it
    taken: float  # bytes, of all tasks
    given: float
    network: float  # bytes over the network, of all nodes
    spilled: float
    working: float  # memory of the workers of one node
    stored: float  # of its object store
    objects: float


@dataclass(frozen=True)
class Prediction:
    stages: tuple[StagePrediction, ...]
    planning: float  # seconds
    driver_memory: float
    objects: float  # most blocks that the driver knows of at once

    @property
    def seconds(self) -> float:
        return self.planning + sum(s.seconds for s in self.stages)

    @property
    def network(self) -> float:
        return sum(s.network for s in self.stages)

    @property
    def memory(self) -> float:
        """Of one node, the most."""
        return max(s.working + s.stored for s in self.stages)

    @property
    def longest(self) -> StagePrediction:
        return max(self.stages, key=lambda s: s.seconds)

    @property
    def limit(self) -> str:
        return "planning on the driver" if self.planning > self.longest.seconds else self.longest.limit


def predict(stages: list[Stage], fragments: Sequence[Fragment], on: Machines, costs: Costs) -> Prediction:
    """What the stages take on a cluster; `fragments` are theirs, in the same order."""
    if len(stages) != len(fragments):
        raise ValueError(f"{len(stages)} stages, but the rates of {len(fragments)}")
    done: list[StagePrediction] = []
    for s, rate in zip(stages, fragments):
        taken = [done[i.stage].given * (s.tasks if i.how == "all" else 1) for i in s.inputs]
        given_blocks = sum(done[i.stage].tasks if i.how != "own" else 1 for i in s.inputs)
        kept = sum(done[i.stage].given for i in s.inputs)
        done.append(_predicted(s, rate, sum(taken), kept, given_blocks, on, costs))
    objects = max(d.objects + sum(done[i.stage].objects for i in s.inputs) for s, d in zip(stages, done))
    files = sum(s.files for s in stages)
    memory = files * costs.file_bytes + objects * costs.block_bytes
    return Prediction(tuple(done), costs.query / on.speed + files * costs.file_seconds, memory, objects)


def _predicted(s: Stage, rate: Fragment, received: float, kept: float, blocks_in: int, on: Machines, costs: Costs
               ) -> StagePrediction:  # fmt: skip
    total = s.file_bytes + received
    given = total * rate.out
    each = total / s.tasks
    at_once = min(on.running, s.tasks)
    share = max(at_once / on.nodes, 1.0)  # tasks that share what one node has
    far = received * (on.nodes - 1) / on.nodes
    spilled = max(0.0, (kept + given) / min(on.nodes, s.tasks) - on.store) * min(on.nodes, s.tasks)
    parts = {
        "computing": each * rate.seconds / on.speed,
        "starting tasks": costs.worker_task / on.speed,
        "giving blocks": s.blocks * costs.worker_block / on.speed,
        "reading files": s.read_bytes / s.tasks * share / on.storage,
        "taking blocks": blocks_in * costs.worker_input / on.speed,
        "the network": far / s.tasks * share / on.network,
        "spilling": 2 * spilled / s.tasks * share / on.disk,
    }
    # Polars reads while it computes; blocks are there before a task begins.
    task = sum(parts.values()) - min(parts["computing"], parts["reading files"])
    in_flight = min(2 * on.slots, s.tasks)
    begin = (costs.driver_task + s.blocks * costs.driver_block + blocks_in * costs.driver_input) / on.speed
    end = (costs.driver_get if s.in_order else in_flight * costs.driver_wait) / on.speed
    seconds = makespan(s.tasks, at_once, in_flight, task, rate.sigma, begin, end)
    parts["the driver"] = (begin + end) * at_once  # while each slot does one task
    limit = max(parts, key=parts.__getitem__)
    if limit != "the driver" and s.tasks < on.running:
        limit += ", too few tasks"
    local = min(on.store, (kept + given) / min(on.nodes, s.tasks))
    working = math.ceil(at_once / on.nodes) * (costs.worker_bytes + each * rate.memory)
    blocks = s.tasks * (1 + s.blocks)
    return StagePrediction(s.name, s.tasks, seconds, limit, total, given, far, spilled, working, local, blocks)


_SIMULATED = 100_000  # tasks; of more stages the rest goes on at the rate of the second half


def makespan(tasks: int, slots: int, ahead: int, seconds: float, sigma: float, begin: float, end: float) -> float:
    """From the first submitted task to the last that is taken note of, the driver doing one thing at a time.

    `begin` and `end` are the driver's seconds for each; tasks take `seconds` on average, log-normal with `sigma`.

    >>> makespan(4, 2, 4, 1.0, 0.0, 0.0, 0.0)
    2.0
    >>> round(makespan(100, 50, 100, 1.0, 0.0, 0.5, 0.5))  # the driver has 100 seconds to do
    100
    """
    chance = random.Random(0)
    simulated = min(tasks, max(_SIMULATED, 4 * slots))
    free, ends = [0.0] * slots, []
    now = half = 0.0
    submitted = 0
    for finished in range(simulated):
        while submitted < simulated and submitted - finished < ahead:
            now += begin
            length = seconds * chance.lognormvariate(-sigma * sigma / 2, sigma) if sigma else seconds
            ended = max(heapq.heappop(free), now) + length
            heapq.heappush(free, ended)
            heapq.heappush(ends, ended)
            submitted += 1
        now = max(now, heapq.heappop(ends)) + end
        if finished == simulated // 2:
            half = now
    rate = (now - half) / max(1, simulated - simulated // 2 - 1)
    return now + (tasks - simulated) * rate


if __name__ == "__main__":
    from benchmarks.scale_sim_check import main

    main()
