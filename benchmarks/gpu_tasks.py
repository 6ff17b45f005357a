"""Queries through robodf on the processor, on a GPU and by its own choice, beside Polars: by turns, with equal rows."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl
from polars.testing import assert_frame_equal

import robodf as rd
from benchmarks.measure import seconds
from robodf.errors import DeviceWarning

POLARS, CPU, GPU, AUTO, DEVICE = "Polars", "robodf, CPU", "robodf, GPU", "robodf, auto", "on the device"
"""The ways to run a task. DEVICE: over frames that lie on the GPU, and the answer stays there."""

_EXACT = 1e-9  # by what share sums of floats may differ, which each engine adds in an order of its own


@dataclass(frozen=True)
class Task:
    """A query as robodf's frame and as Polars', and what it is for: `of` names its table in the report."""

    of: str
    name: str
    ours: rd.PipelineDataFrame
    theirs: pl.LazyFrame
    on_device: bool = False  # also over frames that lie there


@dataclass
class Measured:
    """Seconds of each way, turn by turn; which of Polars' engines was the quicker; where the fragments ran."""

    task: Task
    rows: int
    polars_engine: str = ""
    turns: dict[str, list[float]] = field(default_factory=dict)
    ran: str = ""
    chosen: str = ""

    def seconds(self, way: str) -> float | None:
        return statistics.median(self.turns[way]) if way in self.turns else None

    def times(self, way: str, base: str = POLARS) -> float:
        """How many times as fast as another way, by the median turn."""
        return statistics.median(b / a for a, b in zip(self.turns[way], self.turns[base]))

    @property
    def loss(self) -> float:
        """By what share `auto` was slower than the better of CPU and GPU, by the median turn."""
        each = zip(self.turns[AUTO], self.turns[CPU], self.turns[GPU])
        return statistics.median(auto / min(cpu, gpu) for auto, cpu, gpu in each) - 1


def measured(task: Task, rounds: int, gpu: bool) -> Measured:
    """A task, each way once for its rows and then `rounds` times by turns. AssertionError where rows differ.

    Without `gpu` by Polars and robodf on the processor alone.
    """
    expected = task.theirs.collect(engine="streaming")
    engine = _quicker(task.theirs)
    found = Measured(task, expected.height, engine)
    ways: dict[str, Callable[[], Any]] = {
        POLARS: lambda: task.theirs.collect(engine=engine),  # type: ignore[call-overload]
        CPU: lambda: task.ours.collect(engine="local"),
    }
    if gpu:
        ways |= {GPU: lambda: _on_gpu(task.ours), AUTO: lambda: task.ours.collect(engine="auto")}
        found.ran = _where(task.ours)
        if task.on_device:
            ways[DEVICE] = _resident(task.theirs)
        found.chosen = _chosen(task.ours)
    for name, way in ways.items():
        answer = way()
        check(task, name, expected, answer.to_polars() if name == DEVICE else answer)
    found.turns = {name: [] for name in ways}
    names = list(ways)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            found.turns[name].append(seconds(ways[name]))
    return found


def check(task: Task, who: str, expected: pl.DataFrame, found: pl.DataFrame) -> None:
    """AssertionError where the rows of `who` are not those expected, in any order."""
    try:
        assert_frame_equal(
            _plain(found), _plain(expected), check_row_order=False, check_column_order=False, rel_tol=_EXACT
        )
    except AssertionError as error:
        raise AssertionError(f"{task.of}, {task.name}: {who} gives other rows: {error}") from error


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    """With one type for all numbers: a count is signed in one engine and unsigned in the next."""
    return frame.with_columns(pl.col(n).cast(pl.Float64) for n, t in frame.schema.items() if t.is_numeric())


def _quicker(query: pl.LazyFrame) -> str:
    """Which of Polars' two engines on the CPU takes less time for a query."""
    took = {engine: seconds(lambda e=engine: query.collect(engine=e)) for engine in ("in-memory", "streaming")}
    return min(took, key=took.__getitem__)


# -- on a GPU ------------------------------------------------------------------------------------------------------


def _on_gpu(frame: rd.PipelineDataFrame) -> pl.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeviceWarning)  # `ran` says it: nothing of the query can go
        return frame.collect(engine="gpu")


def _where(frame: rd.PipelineDataFrame) -> str:
    """Where the fragments of a query ran that was told to use the GPU: `2 on the GPU`, or why not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeviceWarning)
        stages = frame.profile(engine="gpu").stages
    said = stages.get_column("device").drop_nulls().to_list() if "device" in stages.columns else []
    whole = [text for text in said if text.startswith("ran on the GPU in ") and "GPU:" not in text]
    others = [text for text in said if text not in whole]
    return "; ".join([f"{len(whole)} on the GPU", *others]) if said else "nothing can go"


def _chosen(frame: rd.PipelineDataFrame) -> str:
    """What `auto` chooses."""
    from robodf.optimizer import optimize
    from robodf.physical.on_gpu import placed_here

    placed = placed_here(optimize(frame._plan), "auto")
    return "GPU" if placed is not None and placed.on_gpu else "CPU"


def _resident(query: pl.LazyFrame) -> Callable[[], Any]:
    from robodf.gpu.resident import resident
    from robodf.gpu.translation import translated

    return resident(translated(query))


# -- what is made of it --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Goal:
    """What was to be reached, the figure, and whether it was."""

    text: str
    figure: str
    passed: bool


RESIDENT, PARQUET, LOSS = 10.0, 5.0, 0.05


def goals(resident: Sequence[Measured], parquet: Sequence[Measured], every: Sequence[Measured]) -> list[Goal]:
    """The goals by the figures: of the joins and group-bys the least, of all tasks the greatest loss of `auto`."""
    on_device = min(m.times(DEVICE) for m in resident)
    read = min(m.times(GPU) for m in parquet)
    worst = max(every, key=lambda m: m.loss)
    return [
        Goal(f"joins and group-bys over frames on the device: {RESIDENT:g} times Polars", f"{on_device:.1f}",
             on_device >= RESIDENT),
        Goal(f"joins and group-bys from Parquet: {PARQUET:g} times Polars", f"{read:.1f}", read >= PARQUET),
        Goal(f"auto at most {LOSS:.0%} slower than the better of CPU and GPU, on each query",
             f"{worst.loss:+.1%} ({worst.task.of}, {worst.task.name})", worst.loss <= LOSS),
    ]  # fmt: skip
