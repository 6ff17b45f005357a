"""Queries on a GPU beside Polars on all cores, in one run, with equal rows.

    python -m benchmarks.gpu --full --write
    python -m benchmarks.gpu --without-gpu      # the half that needs none: robodf on the processor beside Polars

- TPC-H: its 22 queries from Parquet, at scale factor 10 with --full; the rows are checked against Polars and DuckDB
- group-bys, a join and a sort over 1e8 rows with --full: from Parquet, from frames in the memory of the host, and over
  frames that lie on the GPU, where the answer stays
- what crosses between host and GPU, by itself

Each task runs once in each way and its rows are compared; then by turns (see measure.py). Polars is the quicker of its
two engines on the CPU. Times faster and losses are medians of the turns' ratios. Where there is no GPU that can be used
the reason is printed, and nothing is measured.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

import robodf as rd
from benchmarks import large_tables, tpch_data
from benchmarks.gpu_tasks import AUTO, DEVICE, POLARS, Measured, Task, check, goals, measured
from benchmarks.measure import Report, arguments, human, median_seconds, version
from benchmarks.tpch_queries import QUERIES
from benchmarks.tpch_sql import answer, views
from robodf.gpu.facts import here


def main() -> int:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--scale", type=float, help="the scale factor of TPC-H; 10 with --full, else 0.1")
    parser.add_argument("--without-gpu", action="store_true", help="robodf on the processor beside Polars alone")
    options = arguments(__doc__, parents=[parser], rows=0, rounds=3)
    scale = options.scale or (10.0 if options.full else 0.1)
    rows = options.rows or (100_000_000 if options.full else 1_000_000)
    facts = here()
    gpu = not options.without_gpu
    if gpu and facts.device is None:
        print(f"nothing was measured: {facts.why}", file=sys.stderr)
        return 0
    if options.without_gpu and options.write:
        print("--write: the report is of a GPU; leave out --without-gpu", file=sys.stderr)
        return 2
    report = Report("gpu", "Queries on a GPU", options)
    report.say((__doc__ or "").split("\n", 5)[5].strip() + "\n")
    if gpu:
        used = ", ".join(f"{name} {version(name)}" for name in _OF_THE_GPU if version(name) != "absent")
        report.say(f"GPU: {facts}; {used}. Polars has {pl.thread_pool_size()} threads.\n")
        from robodf.gpu.memory import ensure_pool

        ensure_pool()  # of robodf's queries, and of those over frames that lie there
    every = _sections(report, scale, rows, options.rounds, gpu)
    if gpu:
        _crossing(report, rows)
        _goals(report, every)
    report.end()
    return 0


_OF_THE_GPU = ("cudf-polars-cu12", "cudf-polars-cu13", "pylibcudf-cu12", "pylibcudf-cu13", "rmm-cu12", "rmm-cu13")
TPCH, PARQUET, MEMORY = "TPC-H", "Parquet", "memory"


def _sections(report: Report, scale: float, rows: int, rounds: int, gpu: bool) -> list[Measured]:
    found: list[Measured] = []
    folder = tpch_data.tables(scale)
    report.say(f"## TPC-H at scale factor {scale:g}, from {human(tpch_data.size_of(folder))} of Parquet\n")
    part = [measured(task, rounds, gpu) for task in tpch(folder, scale)]
    _table(report, part)
    report.say(
        f"The rows of all {len(part)} are those of Polars and of DuckDB {version('duckdb')}. "
        f"All together: {', '.join(f'{way} {_total(part, way):.2f} s' for way in part[0].turns)}. "
        f"Geometric mean of times faster than Polars: {', '.join(_means(part))}.\n"
    )
    found += part
    folder = large_tables.written(rows)
    report.say(f"## {rows:,} rows from {human(sum(f.stat().st_size for f in folder.rglob('*.parquet')))} of Parquet\n")
    sides = large_tables.from_parquet(folder, rd), large_tables.from_parquet(folder, pl)
    part = [measured(task, rounds, gpu) for task in large(PARQUET, *sides)]
    _table(report, part)
    found += part
    frames = large_tables.made(rows)
    report.say(f"## {rows:,} rows from memory, {human(sum(f.estimated_size() for f in frames))}\n")
    sides = large_tables.in_memory(*frames, rd), large_tables.in_memory(*frames, pl)
    part = [measured(task, rounds, gpu) for task in large(MEMORY, *sides)]
    _table(report, part)
    return found + part


def tpch(folder: Path, scale: float) -> Iterator[Task]:
    """The queries of TPC-H over tables in a folder, their rows by Polars checked against DuckDB."""
    import duckdb

    ours, theirs = tpch_data.opened(folder, rd, scale), tpch_data.opened(folder, pl, scale)
    with duckdb.connect() as other:
        views(other, folder, tpch_data.SCHEMAS)
        for name, query in QUERIES.items():
            task = Task(TPCH, name, query(ours), query(theirs))
            check(task, "Polars", answer(other, name, scale), task.theirs.collect(engine="streaming"))
            yield task


def large(of: str, ours: large_tables.Large, theirs: large_tables.Large) -> Iterator[Task]:
    for name, query in large_tables.QUERIES.items():
        yield Task(of, name, query(ours), query(theirs), on_device=of == MEMORY)


# -- the report ----------------------------------------------------------------------------------------------------


def _table(report: Report, found: Sequence[Measured]) -> None:
    ways = list(found[0].turns)
    head = ["", "rows", *(f"{way}, s" for way in ways), *(f"{way}: times Polars" for way in ways if way != POLARS)]
    if AUTO in ways:
        head += ["auto chose", "auto by the better", "fragments"]
    rows = []
    for m in found:
        row = [m.task.name, f"{m.rows:,}", *(f"{m.seconds(way):.3f}" for way in ways)]
        row += [f"{m.times(way):.2f}" for way in ways if way != POLARS]
        if AUTO in ways:
            row += [m.chosen, f"{m.loss:+.1%}", m.ran.replace("|", "/")]
        rows.append(row)
    report.table(head, rows)


def _total(found: Sequence[Measured], way: str) -> float:
    return sum(m.seconds(way) or 0.0 for m in found)


def _means(found: Sequence[Measured]) -> Iterator[str]:
    for way in found[0].turns:
        if way != POLARS:
            yield f"{way} {math.exp(sum(math.log(m.times(way)) for m in found) / len(found)):.2f}"


def _crossing(report: Report, rows: int) -> None:
    """How fast frames go to the GPU and come back, by themselves."""
    from robodf.gpu.resident import crossing

    facts, names = large_tables.made(rows)
    text = names.select(pl.col("key").cast(pl.String))
    lines = []
    for title, frame in (("numbers", facts), ("texts of up to 8 letters", text)):
        size = frame.estimated_size()
        there, back = (size / median_seconds(way, 3) / 1e9 for way in crossing(frame))
        lines.append([title, human(size), f"{there:.1f}", f"{back:.1f}"])
    report.say("## What crosses\n")
    report.table(["frame", "size", "to the GPU, GB/s", "back, GB/s"], lines)


def _goals(report: Report, every: Sequence[Measured]) -> None:
    resident = [m for m in every if DEVICE in m.turns and m.task.name in large_tables.OF_GOALS]
    parquet = [m for m in every if m.task.of == PARQUET and m.task.name in large_tables.OF_GOALS]
    report.say("## Goals\n")
    rows = [[g.text, g.figure, "pass" if g.passed else "**missed**"] for g in goals(resident, parquet, every)]
    report.table(["goal", "found", ""], rows)


if __name__ == "__main__":
    sys.exit(main())
