"""What robodf costs over hand-written Polars: five queries over Parquet, and the time to plan 50 operators."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from polars.testing import assert_frame_equal

import robodf as rd
from benchmarks.measure import Report, alternate, arguments, human
from benchmarks.tables import episodes, frames
from robodf.optimizer import optimize
from robodf.plan.base import lower_all

Query = Callable[[], pl.DataFrame]


def queries(folder: Path, small: Path) -> dict[str, tuple[Query, Query, list[str]]]:
    """By name: through robodf, by hand, and the columns that put the rows in one order (none: the order is fixed)."""
    files = str(folder / "*.parquet")
    c, p = rd.col, pl.col

    def read() -> Any:
        return rd.read_parquet(files)

    def scan() -> pl.LazyFrame:
        return pl.scan_parquet(files)

    def run(query: pl.LazyFrame) -> pl.DataFrame:
        return query.collect(engine="streaming")

    return {
        "filter": (
            lambda: read().filter(c("force") > 9, c("task") == "pour water").collect(),
            lambda: run(scan().filter((p("force") > 9) & (p("task") == "pour water"))),
            ["episode", "frame"],
        ),
        "projection with arithmetic": (
            lambda: read().select("episode", "frame", speed=_speed(c), low=c("battery") < 20).collect(),
            lambda: run(scan().select("episode", "frame", speed=_speed(p), low=p("battery") < 20)),
            ["episode", "frame"],
        ),
        "group by": (
            lambda: read().group_by("robot", "task").agg(*_aggregates(c), n=rd.len()).collect(),
            lambda: run(scan().group_by("robot", "task").agg(*_aggregates(p), n=pl.len())),
            ["robot", "task"],
        ),
        "join": (
            lambda: (
                read()
                .join(rd.read_parquet(small), on="episode")
                .filter(c("success") & (c("rating") >= 4))
                .group_by("operator")
                .agg(c("force").mean(), c("gripper").max())
                .collect()
            ),
            lambda: run(
                scan()
                .join(pl.scan_parquet(small), on="episode")
                .filter(p("success") & (p("rating") >= 4))
                .group_by("operator")
                .agg(p("force").mean(), p("gripper").max())
            ),
            ["operator"],
        ),
        "top 100": (
            lambda: read().sort("force", "episode", "frame", descending=True).head(100).collect(),
            lambda: run(scan().sort("force", "episode", "frame", descending=True).head(100)),
            [],
        ),
    }


def _speed(col: Any) -> Any:
    return (col("vx") ** 2 + col("vy") ** 2 + col("vz") ** 2).sqrt()


def _aggregates(col: Any) -> list:
    return [col("force").mean(), col("x").min(), col("battery").max(), col("gripper").sum()]


def run_queries(report: Report, rows: int, rounds: int) -> None:
    folder, small = frames(rows), episodes(rows)
    parts = list(folder.glob("*.parquet"))
    size = sum(part.stat().st_size for part in parts)
    report.say(f"## Five queries over {rows:,} rows: {human(size)} of Parquet in {len(parts)} files\n")
    report.say(
        "robodf: from `rd.read_parquet(...)` to the rows, planning included. By hand: `pl.scan_parquet(...)` to "
        f"`collect(engine='streaming')`. {rounds} turns; a ratio above 1 is what robodf costs. CPU time is that of all "
        "threads: on a machine with other load it is the steadier of the two. Results are compared.\n"
    )
    table, ratios, cpu = [], [], []
    for name, (ours, theirs, keys) in queries(folder, small).items():
        _assert_same(ours(), theirs(), keys)
        pair = alternate(ours, theirs, rounds)
        ratios.append(pair.ratio)
        cpu.append(pair.cpu_ratio)
        ours_s, theirs_s = statistics.median(pair.ours), statistics.median(pair.theirs)
        table.append(
            [name, f"{ours_s:.3f}", f"{theirs_s:.3f}", f"{pair.ratio:.3f}", pair.spread, f"{pair.cpu_ratio:.3f}"]
        )
    report.table(["query", "robodf, s", "by hand, s", "median ratio", "least to greatest", "of CPU time"], table)
    report.say(
        f"Median of the five ratios: **{statistics.median(ratios):.3f}** of wall clock, "
        f"**{statistics.median(cpu):.3f}** of CPU time (the goal is at most 1.05).\n"
    )


def _assert_same(ours: pl.DataFrame, theirs: pl.DataFrame, keys: list[str]) -> None:
    if keys:
        ours, theirs = ours.sort(keys), theirs.sort(keys)
    # The order in which floats are added up differs from run to run, in Polars as here.
    assert_frame_equal(ours, theirs, check_exact=False, rel_tol=1e-5, abs_tol=1e-7)


# -- planning -------------------------------------------------------------------------------------------------


def mixed_chain(files: str, small: str) -> rd.PipelineDataFrame:
    """A realistic query: 48 operators in six rounds of eight, then a group-by and a sort."""
    df = rd.read_parquet(files)
    col = rd.col
    for i in range(6):
        other = rd.read_parquet(small).select("episode", **{f"rating{i}": col("rating") + i})
        df = (
            df.filter(col("force") > 0.01 * i, col("task") != "push button")
            .with_columns(**{f"f{i}": col("vx") * i + col("vy"), f"low{i}": col("battery") < i})
            .with_columns(**{f"g{i}": col(f"f{i}").abs().sqrt()})
            .filter(col(f"g{i}").is_not_null() & (col("status") <= 3))
            .join(other, on="episode", how="left")
            .rename({f"g{i}": f"h{i}"})
            .filter(col("note").str.contains(str(i)) | (col(f"h{i}") > 0.5))
            .drop(f"f{i}")
        )
    return df.group_by("robot").agg(col("force").mean(), col("h5").max(), col("rating0").max()).sort("robot")


def plain_chain(files: str, small: str, n: int = 50) -> rd.PipelineDataFrame:
    """`n` operators of the kind that a notebook grows: a column, a filter on it, a column, ..."""
    df = rd.read_parquet(files)
    for i in range(n // 2):
        df = df.with_columns(**{f"c{i}": rd.col("x") * i + rd.col("y")}).filter(rd.col(f"c{i}") > i)
    return df


def run_planning(report: Report, rows: int, rounds: int) -> None:
    files, small = str(frames(rows) / "*.parquet"), str(episodes(rows))
    report.say(f"## Planning 50 operators, CPU time of the thread, median of {rounds} times\n")
    report.say(
        "`build` is what the user's lines take (each checks names and types), `optimize` all rules, `lower` the "
        "translation to a Polars query. Expressions and schemas are kept on the nodes of a frame: `again` is a second "
        "`optimize` of the same frame, the others start without anything kept.\n"
    )
    table = []
    for name, make in {"mixed": mixed_chain, "with_columns and filter": plain_chain}.items():
        figures: dict[str, list[float]] = {"build": [], "optimize": [], "again": [], "lower": []}
        for _ in range(rounds + 1):  # the first is not counted
            df = _timed(figures["build"], lambda make=make: make(files, small))
            plan = df._plan
            best = _timed(figures["optimize"], lambda plan=plan: optimize(plan))
            _timed(figures["again"], lambda plan=plan: optimize(plan))
            _timed(figures["lower"], lambda best=best: lower_all(best))
            del df, plan, best  # nodes are interned: the next turn must not find these
        medians = [f"{statistics.median(values[1:]) * 1000:.2f}" for values in figures.values()]
        table.append([name, *medians])
    report.table(["chain", "build, ms", "optimize, ms", "again, ms", "lower, ms"], table)
    report.say("The goal is `optimize` in at most 10 ms.\n")


def _timed(into: list[float], function: Callable[[], Any]) -> Any:
    started = time.thread_time()
    made = function()
    into.append(time.thread_time() - started)
    return made


def main() -> None:
    options = arguments(__doc__, rows=0, rounds=0)
    rows = options.rows or (16_000_000 if options.full else 2_000_000)
    report = Report("overhead", "What robodf costs over hand-written Polars", options)
    run_planning(report, rows, options.rounds or (51 if options.full else 21))
    run_queries(report, rows, options.rounds or (9 if options.full else 5))
    report.end()


if __name__ == "__main__":
    main()
