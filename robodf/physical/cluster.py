"""A query in partitions: cut, run stage by stage, its rows brought here in order."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import polars as pl

from robodf.config import settings
from robodf.errors import DeviceError, OptionError
from robodf.gpu.facts import Facts
from robodf.io.sink import WriteReport
from robodf.io.sink_shared import shared_write
from robodf.optimizer import IN_PARTITIONS, optimize
from robodf.physical.cut import Cut, Limits, cut
from robodf.physical.keeping import limits_of
from robodf.physical.on_gpu import worth_asking
from robodf.physical.piece_store import PieceStore, stale
from robodf.physical.place import place
from robodf.physical.plan_key import plan_key
from robodf.physical.progress import progress
from robodf.physical.runner import Runner
from robodf.physical.stages import Placing, Stages
from robodf.physical.task import Job
from robodf.physical.writing import AsTables, Writing, pieces_beside
from robodf.plan.base import Plan


def limits(cpus: int) -> Limits:
    """By what plans are cut under the settings in force."""
    s = settings()
    return Limits(max(1, cpus), s.partition_bytes, s.small_bytes, s.partitions)


def placing(facts: Facts | None, always: bool = False) -> Placing | None:
    """What puts the work of tasks on the GPUs of a cluster: what the cost model says that pays, or `always` all.

    With `always` DeviceError where there is no GPU.
    """
    if facts is None:
        return None
    if facts.device is None:
        if not always:
            return None
        raise DeviceError(f'rd.config(gpu="always"), but {facts.why}. gpu="auto" runs the same query without one')
    if always:
        return lambda plan, known: place(plan, facts, forced=True, known=known).plan
    return lambda plan, known: place(plan, facts, known=known).plan if worth_asking(plan, facts, known) else plan


def on_ray() -> Runner:
    """The Ray cluster of the settings."""
    from robodf.physical.ray_runner import OnRay

    return OnRay()


class Query:
    """One run of a plan in partitions."""

    def __init__(self, plan: Plan, runner: Runner, store: PieceStore | None = None):
        bounds = limits(runner.slots)
        if store is not None:
            bounds = limits_of(store, bounds)
        self.cut: Cut = cut(optimize(plan, IN_PARTITIONS), bounds)
        parts = {node: item.place.parts for node, item in self.cut.items.items()}
        s = settings()
        # A task has one processor, but waits for disks and networks: two threads read its logs.
        job = Job(replace(s, threads=s.threads or 2), s.retries, os.getcwd())
        self.stages = Stages(runner, job, store, parts, placing=placing(runner.gpu(), runner.gpu_always))

    def parts(self) -> list[Plan]:
        """The plan of each partition of the answer."""
        return self.stages.parts(self.cut.plan)

    def frames(self) -> Iterator[pl.DataFrame]:
        """The rows of each partition, in order; none is computed much before it is asked for."""
        return self.stages.frames(self.parts(), self.cut.plan.schema)


def collect(plan: Plan, runner: Runner) -> pl.DataFrame:
    """All rows of the plan."""
    with progress("collect"):
        query = Query(plan, runner)
        frames = list(query.frames())
    return pl.concat(frames, rechunk=False) if frames else pl.DataFrame(schema=plan.schema)


def write(plan: Plan, runner: Runner, target: str, format: str, *, storage_options: Mapping[str, Any] | None,
          resume: bool, **options: Any) -> WriteReport:  # fmt: skip
    """Write the rows: each partition by the task that computes it, published together.

    With `resume` the parts, and what goes between the stages, outlive a driver that dies: the next run of the same
    query, on the same inputs, computes what is missing.
    """
    key = plan_key(plan) if resume else None
    with contextlib.ExitStack() as stack:
        schema = pl.Schema(plan.schema)
        job = stack.enter_context(
            shared_write(schema, target, format, storage_options=storage_options, resume_key=key, **options)
        )
        store = None
        if key is not None:
            store = PieceStore(pieces_beside(os.fspath(target)), key, storage_options)
            stack.enter_context(store.locked())
        with progress(f"write {format}"):
            query = Query(plan, runner, store)
            written = job.done()
            if len(written) < query.cut.place.parts:
                tasks = [(k, part, Writing(job.part, k)) for k, part in enumerate(query.parts()) if k not in written]
                written |= query.stages.said(f"write {format}", tasks)
            report = job.commit([written[k] for k in sorted(written)])
        if store is not None:
            store.remove()
            for old, _, _ in stale(store.path, storage_options):  # of other queries that were to write this
                with contextlib.suppress(OptionError):  # one that another process fills
                    PieceStore(store.path, old, storage_options).remove()
            if "://" not in store.path:
                with contextlib.suppress(OSError):  # another query may keep its pieces there
                    os.rmdir(store.path)
    return report


def to_ray(plan: Plan) -> Any:
    """The rows as a Ray Dataset, a block for each partition: they stay where they are computed."""
    from robodf.io.ray_datasets import dataset_of

    query = Query(plan, on_ray())
    with progress("to_ray"):
        tasks = ((part, AsTables()) for part in query.parts())
        blocks: list[Any] = [done.blocks[0] for done in query.stages.in_order("to_ray", tasks)]
        return dataset_of(blocks)


def stream(plan: Plan, batch_size: int, runner: Runner) -> Iterator[pl.DataFrame]:
    """The rows in order, in frames of `batch_size` rows and a rest."""
    waiting: list[pl.DataFrame] = []
    rows = 0
    for frame in Query(plan, runner).frames():
        waiting.append(frame)
        rows += frame.height
        if rows < batch_size:
            continue
        whole = pl.concat(waiting, rechunk=False)
        full = rows - rows % batch_size
        yield from (whole.slice(first, batch_size) for first in range(0, full, batch_size))
        waiting, rows = [whole.slice(full)], rows - full
    if rows:
        yield pl.concat(waiting, rechunk=False)
