"""Running a cut plan: exchange by exchange from the leaves up, each a set of tasks.

Between exchanges nothing runs: the operators there are composed into the plan of each partition, so that one task does
all of a partition's work from its scan (or from the blocks that it receives) to the next exchange.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import polars as pl

from robodf.compat import run_in_batches
from robodf.io.counting import read
from robodf.optimizer import optimize
from robodf.physical.blocks import pack, unpack
from robodf.physical.exchange import (
    Broadcast,
    ByHash,
    ByRange,
    Counted,
    Gather,
    Pieces,
    Rebatched,
    Received,
    Tagged,
)
from robodf.physical.keeping import FromStore, Keeping, Stored
from robodf.physical.noted import Noted
from robodf.physical.piece_store import PieceStore
from robodf.physical.runner import Handle, Runner
from robodf.physical.task import Buckets, InRanges, Job, Meta, Order, Output, Sampled, Whole, bounds_of
from robodf.plan.base import Plan, Schema, parent_counts, parents_first
from robodf.plan.node import walk
from robodf.plan.nodes.checkpoint import ROWS, Checkpoint, complete, kept_stage
from robodf.plan.nodes.rows import Count, Slice
from robodf.plan.nodes.scan import InMemory, Scan
from robodf.plan.nodes.shared import Cached, Shared
from robodf.plan.spread import Appended, Placed

_numbers = itertools.count()  # of blocks, over all runs of this process: nodes of two runs are never taken for one
_ROWS = 1 << 20  # of a block that is made here
_PARTITION = 1 << 44  # rows that a partition may have, for their numbers to be in order


@dataclass
class StageReport:
    """What the tasks of one stage did."""

    stage: str
    tasks: int = 0
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0
    read_bytes: int = 0
    retries: int = 0
    spilled_bytes: int = 0
    on_gpu: int = 0
    off_gpu: int = 0

    def add(self, meta: Meta) -> None:
        self.tasks += 1
        self.rows += sum(meta.rows)
        self.bytes += sum(meta.bytes)
        self.seconds += meta.seconds
        self.read_bytes += meta.read_bytes
        self.retries += meta.retries
        self.on_gpu += meta.on_gpu
        self.off_gpu += meta.off_gpu


@dataclass(frozen=True)
class Done:
    """A task that is done: the rows of its blocks and what these are known by, and what it said."""

    rows: tuple[int, ...]
    blocks: tuple[Handle | Stored, ...]
    said: Any = None


Placing = Callable[[Plan, Mapping[int, float]], Plan]
"""The plan of a task with what a GPU should do of it, given the rows of some of its leaves (by id)."""


@dataclass
class Stages:
    """One run of a cut plan. With a store, what goes between its stages is kept there, and not made where it is."""

    runner: Runner
    job: Job
    store: PieceStore | None = None
    expected: Mapping[int, int] = field(default_factory=dict)  # partitions by id of node, for what is kept whole
    reports: list[StageReport] = field(default_factory=list)
    _handles: WeakKeyDictionary[Received, tuple[Handle, ...]] = field(default_factory=WeakKeyDictionary)
    placing: Placing | None = None  # what of a task's plan goes to a GPU
    measure: bool = False  # also what costs time to know
    _sizes: WeakKeyDictionary[Received, int] = field(default_factory=WeakKeyDictionary)  # rows of what was received
    _before: int = 0  # bytes on disk
    _names: dict[int, str] = field(default_factory=dict)  # of stages, by id of the exchange
    _rows: WeakKeyDictionary[Plan, int] = field(default_factory=WeakKeyDictionary)  # of partitions that were counted

    # -- the partitions of a plan -----------------------------------------------------------------------------

    def parts(self, root: Plan) -> list[Plan]:
        """The plan of each partition of `root`; whatever it needs of other partitions has been computed."""
        order = parents_first(root)[::-1]
        self._names = {id(n): f"{k}-{type(n).__name__}" for k, n in enumerate(order)}
        needed = self._needed(root)
        uses = parent_counts(root)
        done: dict[int, list[Plan]] = {}
        for n in order:
            if id(n) not in needed:
                continue
            inputs = [done.get(id(i), []) for i in n.inputs()]
            for i in n.inputs():
                uses[id(i)] -= 1
                if not uses[id(i)]:
                    done.pop(id(i), None)  # blocks that no plan names any more are freed
            done[id(n)] = self._parts(n, inputs)
            del inputs
        return done[id(root)]

    def _needed(self, root: Plan) -> set[int]:
        """The nodes (by id) whose partitions this run needs: not those below rows that are kept."""
        needed, pending = {id(root)}, [root]
        while pending:
            n = pending.pop()
            below = () if self._is_kept(n) else n.inputs()
            pending += [i for i in below if id(i) not in needed]
            needed.update(map(id, below))
        return needed

    def _is_kept(self, n: Plan) -> bool:
        if isinstance(n, Checkpoint):
            return kept_stage(n.store) is not None
        if self.store is None or not isinstance(n, (Broadcast, ByHash, Counted, Shared, Gather)):
            return False
        if isinstance(n, Counted) and n.again:  # only numbers are kept: the rows are to be read
            return False
        count = self.expected.get(id(n.inputs()[0]))
        limited = isinstance(n, Gather) and (n.limit is not None or count == 1)
        return not limited and count is not None and self.store.done(self._names[id(n)]) == set(range(count))

    def _parts(self, n: Plan, inputs: list[list[Plan]]) -> list[Plan]:
        if isinstance(n, Checkpoint):
            return self._checkpoint(n, inputs[0])
        if isinstance(n, Pieces):
            return self._pieces(n)
        if isinstance(n, InMemory):
            return [self._in_memory(n)]
        if isinstance(n, Gather):
            return self._gather(n, inputs[0])
        if isinstance(n, Broadcast):
            return [self._received_from(self._all(n, inputs[0], Whole()), n.schema)]
        if isinstance(n, ByHash):
            return self._exchange(n, inputs[0], Buckets(n.keys, n.partitions))
        if isinstance(n, ByRange):
            return self._by_range(n, inputs[0])
        if isinstance(n, Counted) and n.again:
            return self._counted(n, inputs[0])
        if isinstance(n, (Counted, Shared)):
            done = self._all(n, inputs[0], Whole())
            made = [self._received_from([d], n.schema) for d in done]
            self._rows.update((node, d.rows[0]) for node, d in zip(made, done))
            return made
        if isinstance(n, Rebatched):
            return self._rebatched(n, inputs[0])
        if isinstance(n, Tagged):
            return [Tagged(part, k * _PARTITION) for k, part in enumerate(inputs[0])]
        if isinstance(n, Cached):
            return [self._cached(n, inputs[0])]
        if any(isinstance(way, Appended) for way in n.spread()) and any(len(parts) > 1 for parts in inputs):
            return [_alone(n, k, part) for k, parts in enumerate(inputs) for part in parts]
        if any(isinstance(way, Placed) for way in n.spread()) and isinstance(n.inputs()[0], Counted):
            return self._placed(n, inputs[0])
        return _composed(n, inputs)

    def _pieces(self, n: Pieces) -> list[Plan]:
        if isinstance(n.input, Scan):
            return [
                n.input.replace(source=n.input.source.part(piece)) if piece else _nothing(n.schema)
                for piece in n.pieces
            ]
        assert isinstance(n.input, InMemory)
        frame = n.input.frame
        assert isinstance(frame, pl.DataFrame)
        return [self.put(frame.slice(first, rows)) for first, rows in n.pieces]

    def _in_memory(self, n: InMemory) -> Plan:
        """Rows of this process travel as blocks; a LazyFrame, which may read what only this process sees, runs here."""
        if isinstance(n.frame, pl.DataFrame):
            return self.put(n.frame)
        handles = [self.runner.put(pack(batch)) for batch in run_in_batches(n.frame, _ROWS)]
        return self._made(handles, n.schema)

    def put(self, frame: pl.DataFrame) -> Received:
        """Rows of the driver, for tasks."""
        return self._made([(self.runner.put(pack(frame)))], dict(frame.schema))

    def _made(self, handles: list[Handle], schema: Schema) -> Received:
        node = Received(tuple(next(_numbers) for _ in handles), tuple(schema.items()))
        self._handles[node] = tuple(handles)
        return node

    def _received_from(self, done: Iterable[Done], schema: Schema, block: int = 0) -> Plan:
        done = list(done)
        blocks = [d.blocks[block] for d in done]
        if blocks and isinstance(blocks[0], Stored):
            assert self.store is not None
            return FromStore(self.store, tuple(blocks), tuple(schema.items()))
        made = self._made(blocks, schema)
        self._sizes[made] = sum(d.rows[block] for d in done)
        return made

    # -- exchanges --------------------------------------------------------------------------------------------

    def _gather(self, n: Gather, parts: list[Plan]) -> list[Plan]:
        if len(parts) == 1:
            return parts
        if n.limit is None:  # (kept ones have no partitions here: their blocks are in the store)
            return [self._received_from(self._all(n, parts, Whole()), n.schema)]
        found, rows = [], 0
        tasks = self.in_order(n.label(), ((part, Whole()) for part in parts))
        for d in tasks:
            found.append(d)
            rows += sum(d.rows)
            if rows >= n.limit:
                tasks.close()
                break
        return [self._received_from(found, n.schema)]

    def _exchange(self, n: Plan, parts: list[Plan], output: Output) -> list[Plan]:
        done = self._all(n, parts, output)
        return [self._received_from(done, n.schema, k) for k in range(output.blocks)]

    def _counted(self, n: Counted, parts: list[Plan]) -> list[Plan]:
        """The partitions, which are run to be counted without the columns that nobody needs for that."""
        counts = [optimize(Count(part)) for part in parts]
        done = self._all(n, counts, Whole())
        self._rows.update((part, self._fetched(d.blocks[0], counts[0].schema).item()) for part, d in zip(parts, done))
        return parts

    def _by_range(self, n: ByRange, parts: list[Plan]) -> list[Plan]:
        order = Order(n.by, n.descending, n.nulls_last)
        done = self._all(n, parts, Sampled(order))
        keys = {**order.keys(pl.DataFrame(schema=n.schema)).schema, "rows": pl.UInt32()}
        samples = [self._fetched(d.blocks[1], keys) for d in done]
        bounds = bounds_of(order, samples, n.partitions)
        sampled = [self._received_from([d], n.schema) for d in done]
        output = InRanges(order, bounds, n.partitions)
        done = self._all(n, sampled, output, "-ranges")
        return [self._received_from(done, n.schema, k) for k in range(output.blocks)]

    def _fetched(self, block: Handle | Stored, schema: Schema) -> pl.DataFrame:
        if isinstance(block, Stored):
            assert self.store is not None
            return self.store.read(block.stage, block.piece, block.bucket)
        return unpack(self.runner.get(block), schema)

    def _rebatched(self, n: Rebatched, parts: list[Plan]) -> list[Plan]:
        done = self._all(n, parts, Whole())
        ends = list(itertools.accumulate(d.rows[0] for d in done))
        total = ends[-1]
        # Each partition takes the batches that begin in it, and so some rows of the next ones.
        starts = [min(-(-first // n.size) * n.size, total) for first in (0, *ends[:-1])]
        made: list[Plan] = []
        for first, last in zip(starts, [*starts[1:], total]):
            if first < last:
                touched = [k for k, end in enumerate(ends) if end > first and end - done[k].rows[0] < last]
                offset = ends[touched[0]] - done[touched[0]].rows[0]
                made.append(
                    Slice(self._received_from([done[k] for k in touched], n.schema), first - offset, last - first)
                )
        return made or [_nothing(n.schema)]

    def _placed(self, n: Plan, parts: list[Plan]) -> list[Plan]:
        rows = [self._rows[part] for part in parts]  # type: ignore[index]
        way = next(w for w in n.spread() if isinstance(w, Placed))
        firsts = [0, *itertools.accumulate(rows)]
        return [way.at(first, firsts[-1]).with_inputs((part,)) for first, part in zip(firsts, parts)]

    def _cached(self, n: Cached, parts: list[Plan]) -> Plan:
        with n.kept.lock:
            if n.kept.rows is None:
                n.kept.rows = pl.concat(self.frames(parts, n.schema), rechunk=False)
        return self.put(n.kept.rows)

    # -- tasks ------------------------------------------------------------------------------------------------

    def _all(self, n: Plan, parts: list[Plan], output: Output, step: str = "") -> list[Done]:
        """The tasks of one stage, all done, in the order of the partitions."""
        if self.store is not None:
            return self._all_kept(self.store, self._names[id(n)] + step, n.label(), parts, output)
        found = dict(self._as_completed(n.label(), [(k, part, output) for k, part in enumerate(parts)]))
        return [found[k] for k in range(len(parts))]

    def _all_kept(self, store: PieceStore, stage: str, label: str, parts: list[Plan], output: Output) -> list[Done]:
        """The tasks of one stage, but for those whose blocks are in the store; the blocks of the others go there."""
        there = store.done(stage)
        count = len(parts) or len(there)  # without partitions: all are there
        tasks = [(k, part, Keeping(output, store, stage, k)) for k, part in enumerate(parts) if k not in there]
        rows = {k: d.said for k, d in self._as_completed(label, tasks)}
        for k in there:
            rows[k] = tuple(store.rows(stage, k))
        return [Done(rows[k], tuple(Stored(stage, k, bucket) for bucket in range(output.blocks))) for k in range(count)]

    def _checkpoint(self, n: Checkpoint, parts: list[Plan]) -> list[Plan]:
        columns = tuple(n.schema.items())
        if kept_stage(n.store) is None:
            with n.store.locked():
                self._all_kept(n.store, ROWS, n.label(), parts, Whole())
                complete(n.store, ROWS)
        stage = kept_stage(n.store)
        assert stage is not None
        return [FromStore(n.store, (Stored(stage, k, 0),), columns) for k in sorted(n.store.done(stage))]

    def said(self, stage: str, tasks: Sequence[tuple[int, Plan, Output]]) -> dict[int, Any]:
        """What numbered tasks say that give no blocks."""
        return {k: d.said for k, d in self._as_completed(stage, tasks)}

    def frames(self, parts: list[Plan], schema: Schema) -> Iterator[pl.DataFrame]:
        """The rows of partitions, brought here in order; a few partitions are computed ahead."""
        for d in self.in_order("result", ((part, Whole()) for part in parts)):
            yield self._fetched(d.blocks[0], schema)

    def in_order(self, stage: str, tasks: Iterable[tuple[Plan, Output]]) -> Generator[Done, None, None]:
        """The tasks in their order; no more than a few ahead of who reads them, and none after it stops."""
        report = self._report(stage)
        noted = Noted()
        ahead: deque = deque()
        rest = iter(tasks)
        try:
            while True:
                for plan, output in itertools.islice(rest, 2 * self.runner.slots - len(ahead)):
                    ahead.append((plan, *self._submit(plan, output)))
                if not ahead:
                    return
                plan, waiting, blocks = ahead[0]
                self.runner.done([waiting])
                done = self._finish(report, noted, report.tasks, plan, waiting, blocks)
                ahead.popleft()
                noted.pass_on()
                yield done
        finally:
            noted.pass_on()
            self.runner.cancel([waiting for _, waiting, _ in ahead])
            self._end_stage(report)

    def _as_completed(self, stage: str, tasks: Sequence[tuple[int, Plan, Output]]) -> Iterator[tuple[int, Done]]:
        """Numbered tasks as they are done."""
        report = self._report(stage)
        noted = Noted()
        running: dict[int, tuple] = {}
        rest = iter(tasks)
        try:
            while True:
                for k, plan, output in itertools.islice(rest, 2 * self.runner.slots - len(running)):
                    running[k] = (plan, *self._submit(plan, output))
                if not running:
                    return
                numbers = {id(waiting): k for k, (_, waiting, _) in running.items()}
                # All that are done, not one: to ask is work for each that is not.
                for ready in self.runner.done([waiting for _, waiting, _ in running.values()]):
                    k = numbers[id(ready)]
                    plan, waiting, blocks = running[k]
                    done = self._finish(report, noted, k, plan, waiting, blocks)
                    del running[k]
                    yield k, done
        finally:
            noted.pass_on()
            self.runner.cancel([waiting for _, waiting, _ in running.values()])
            self._end_stage(report)

    def _submit(self, plan: Plan, output: Output) -> tuple:
        blocks: dict[int, Handle] = {}
        if self.placing is not None:
            received = [n for n in walk(plan) if isinstance(n, Received)]
            plan = self.placing(plan, {id(n): float(self._sizes[n]) for n in received if n in self._sizes})
        for n in walk(plan):
            if isinstance(n, Received):
                blocks.update(zip(n.blocks, self._handles[n]))
        return self.runner.submit(self.job, plan, output, blocks)

    def _finish(self, report: StageReport, noted: Noted, number: int, plan: Plan, waiting: object,
                blocks: list[Handle]) -> Done:  # fmt: skip
        meta = self.runner.meta(waiting)
        noted.add(number, plan, meta.problems, meta.handed)
        if meta.failure is not None:
            raise meta.failure.error()
        report.add(meta)
        if self.runner.name != "local":  # what ran here has counted already
            read.add(rows=meta.read_rows, bytes=meta.read_bytes, chunks=meta.read_chunks)
        return Done(meta.rows, tuple(blocks), meta.said)

    def _report(self, stage: str) -> StageReport:
        self._before = self._spilled()
        self.reports.append(StageReport(stage))
        return self.reports[-1]

    def _end_stage(self, report: StageReport) -> None:
        report.spilled_bytes = max(0, self._spilled() - self._before)
        self.runner.end_stage()

    def _spilled(self) -> int:
        return self.runner.spilled_bytes() if self.measure else 0


def _nothing(schema: Schema) -> Plan:
    return InMemory(pl.DataFrame(schema=schema))


def _alone(n: Plan, k: int, part: Plan) -> Plan:
    """A union of one partition of its input `k` and nothing else, so that columns and types are those of the union."""
    return n.with_inputs(tuple(part if j == k else _nothing(i.schema) for j, i in enumerate(n.inputs())))


def _composed(n: Plan, inputs: list[list[Plan]]) -> list[Plan]:
    """The operator over each partition; an input of one partition is there for all."""
    count = max((len(parts) for parts in inputs), default=1)
    if any(len(parts) not in (1, count) for parts in inputs):
        raise RuntimeError(f"{n.label()} has inputs of {[len(parts) for parts in inputs]} partitions")
    if not inputs:
        return [n]
    return [n.with_inputs(tuple(parts[k if len(parts) > 1 else 0] for parts in inputs)) for k in range(count)]
