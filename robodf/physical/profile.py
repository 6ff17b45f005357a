"""What each operator of a query costs, measured one by one."""

from __future__ import annotations

import time
from dataclasses import dataclass

import polars as pl

from robodf.compat import run
from robodf.config import engine_asked
from robodf.dedup import asked
from robodf.gpu.kernels import listening
from robodf.optimizer import optimize
from robodf.physical import cluster
from robodf.physical.engine import on_cluster
from robodf.physical.local import for_engine, user_errors
from robodf.physical.on_device import OnDevice
from robodf.physical.on_gpu import placed_here
from robodf.plan.base import Plan


@dataclass(frozen=True)
class Profile:
    """The answer of a query and what each operator took.

    `stages` has one row an operator, inputs before the operators that use them: stage, rows, bytes (of the output in
    memory), seconds (of that operator alone, its inputs being in memory; a scan includes what was pushed into it).
    Where a GPU is used there is also device: of a fragment where it ran, for how long, and why not where it was tried
    before; of robodf's own operators which of their kernels ran there, and which had to come back. The stage of a
    fragment says what was estimated.

    Of a run on a cluster it has one row a fragment, the tasks between two exchanges: stage, tasks, rows, bytes (that
    they gave), seconds (of all tasks together), read_bytes, retries, spilled_bytes (how much more of the object store
    lay on disk when they were done), on_gpu and off_gpu (fragments that ran on a GPU, and that could not in the end).
    """

    rows: pl.DataFrame
    stages: pl.DataFrame

    def __repr__(self) -> str:
        with pl.Config(fmt_str_lengths=80, tbl_rows=100, tbl_width_chars=140, tbl_hide_column_data_types=True):
            return str(self.stages)

    def _repr_html_(self) -> str:
        return self.stages._repr_html_()


def profile(plan: Plan, engine: str | None = None) -> Profile:
    """Run the optimized plan bottom up, each operator on the rows that the ones below gave; a cut plan as it runs."""
    if on_cluster(plan, engine):
        query = cluster.Query(plan, cluster.on_ray())
        query.stages.measure = True
        frames = list(query.frames())
        reports = pl.DataFrame([vars(report) for report in query.stages.reports])
        return Profile(pl.concat(frames) if frames else pl.DataFrame(schema=plan.schema), reports)
    optimized = for_engine(optimize(plan), engine)
    placed = placed_here(optimized, engine)
    if placed is not None and placed.on_gpu:
        optimized = placed.plan
    done: dict[int, pl.DataFrame] = {}
    stages: list[dict] = []
    pending = [(optimized, False)]
    while pending:
        n, ready = pending.pop()
        if id(n) in done:
            continue
        if not ready:
            pending.append((n, True))
            pending += [(child, False) for child in reversed(n.inputs())]
            continue
        done[id(n)] = _run(n, done, stages, engine_asked(engine))
    return Profile(done[id(optimized)], pl.DataFrame(stages, infer_schema_length=None))


def _run(n: Plan, done: dict[int, pl.DataFrame], stages: list[dict], engine: str) -> pl.DataFrame:
    inputs = [done[id(i)].lazy() for i in n.inputs()]
    started = time.perf_counter()
    with user_errors(n), asked.during(engine), listening() as told:
        rows = run(n.lower(*inputs))
    seconds = time.perf_counter() - started
    stages.append({"stage": n.label(), "rows": rows.height, "bytes": rows.estimated_size(), "seconds": seconds})
    if isinstance(n, OnDevice):
        told.insert(0, str(n.fragment.ran[-1]))
    if told:
        stages[-1]["device"] = "; ".join(told)
    return rows
