"""A few rows of Parquet files whose images are 95% of the bytes, beside Polars, DuckDB and Daft.

    python -m venv /tmp/heavy_peers
    /tmp/heavy_peers/bin/pip install daft duckdb polars pyarrow
    python -m benchmarks.heavy --gb 5 --peers /tmp/heavy_peers/bin/python --write

The same rows in three layouts: as robodf writes them, as pyarrow's and as Polars' defaults do. Five queries, each for
id, caption and image: a filter that leaves 1%, the 100 rows of most quality, 100 rows by chance, 30 ids by a
semi-join, one row of each caption (1% of the rows). Each tool is a process of its own that stays; the tools take turns,
after one run of each that is not counted and with the files in the page cache.

Bytes read: by calls (`rchar` of /proc/self/io), in the last turn; from the disk (`read_bytes`), in a run after the
files were dropped from the page cache, with what the kernel reads ahead: what is read through memory maps is counted
there alone. Each answer is checked: rows, ids, captions, and that each image is that of its id.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

import robodf as rd
from benchmarks.measure import DATA, HERE, Report, arguments

IMAGE = 50_000  # bytes, about
LAYOUTS = ("robodf", "pyarrow", "polars")
QUERIES = ("filter", "top", "sample", "semi-join", "dedup")
PEERS = ("polars", "duckdb", "daft")
_BATCH, _GROUP = 2000, 20_000  # rows at once; of a row group: by pyarrow's default of 2**20 a set is one group
_BELOW, _TOP, _IDS = 0.01, 100, 30


def images(rows: int) -> Iterator[pl.DataFrame]:
    """Rows of a data set of frames: what a query looks at is small, images do not compress."""
    for first in range(0, rows, _BATCH):
        rng = np.random.default_rng(first)
        some = min(_BATCH, rows - first)
        ids = np.arange(first, first + some)
        sizes = rng.integers(IMAGE // 2, IMAGE * 3 // 2, some)
        yield pl.DataFrame({
            "id": ids,
            "time": pl.Series(1_750_000_000_000_000_000 + ids * 33_333_333).cast(pl.Datetime("ns")),
            "quality": rng.random(some),
            "caption": [f"take number {i} of the cup on the table" for i in rng.integers(0, max(1, rows // 100), some)],
            "embedding": pl.Series(rng.normal(size=(some, 512)).astype(np.float32), dtype=pl.Array(pl.Float32, 512)),
            "image": [int(i).to_bytes(8, "little") + rng.bytes(int(size)) for i, size in zip(ids, sizes)],
        })  # fmt: skip


def files(gb: float) -> tuple[dict[str, str], Path, int]:
    """The patterns of each layout's files, the ids of the semi-join, and the rows: made once."""
    rows = int(gb * 1e9 / (IMAGE + 2200))
    folder = DATA / f"heavy-{rows}"
    found = {layout: str(folder / layout / "*.parquet") for layout in LAYOUTS}
    ids = folder / "ids.parquet"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        for layout in LAYOUTS:
            (folder / layout).mkdir(parents=True)
        target = folder / "pyarrow" / "0.parquet"
        writer, held = None, []
        for batch in images(rows):
            table = batch.to_arrow(compat_level=pl.CompatLevel.oldest())
            writer = writer or pq.ParquetWriter(target, table.schema)
            held.append(table)
            if sum(one.num_rows for one in held) >= _GROUP:
                writer.write_table(pa.concat_tables(held))
                held.clear()
        if held and writer is not None:
            writer.write_table(pa.concat_tables(held))
        assert writer is not None
        writer.close()
        rd.read_parquet(str(target)).to_parquet(str(folder / "robodf" / "0.parquet"))
        pl.scan_parquet(target).sink_parquet(folder / "polars" / "0.parquet", engine="streaming")
        chosen = np.sort(np.random.default_rng(1).choice(rows, _IDS, replace=False))
        pl.DataFrame({"id": chosen}).write_parquet(ids)
        (folder / "complete").touch()
    return found, ids, rows


class Tool:
    """A process that answers jobs."""

    def __init__(self, name: str, python: str):
        script = str(HERE / "heavy_tools.py")
        self.name = name
        self._process = subprocess.Popen(
            [python, "-P", script, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment()
        )
        self.version = self._read()["version"]

    def run(self, **job: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        found = self._read()
        if "error" in found:
            raise RuntimeError(f"{self.name}, {job}: {found['error']}")
        return found

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of {self.name} ended")
        return json.loads(line)

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(HERE.parent), "DAFT_PROGRESS_BAR": "0"}


@dataclass
class Cell:
    """Answers of a tool to one query: by turns, and cold."""

    turns: list[dict[str, Any]] = field(default_factory=list)
    cold: dict[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return statistics.median(turn["seconds"] for turn in self.turns)


def measure(tools: list[Tool], job: dict[str, Any], rounds: int) -> dict[str, Cell]:
    cells = {tool.name: Cell() for tool in tools}
    for tool in tools:
        tool.run(**job)
    for turn in range(rounds):
        for tool in tools if turn % 2 == 0 else reversed(tools):
            cells[tool.name].turns.append(tool.run(**job))
    for tool in tools:
        cells[tool.name].cold = tool.run(**job, cold=True)
    return cells


def check(job: dict[str, Any], cells: dict[str, Cell], rows: int, right: pl.DataFrame) -> None:
    """Whether all answers are right; the draws differ."""
    for name, cell in cells.items():
        for found in [*cell.turns, cell.cold]:
            assert found["right"], (name, job)
            query = job["query"]
            if query == "sample":
                assert found["rows"] == job["rows"], (name, found)
            elif query == "dedup":
                assert found["rows"] == found["captions"] == right["caption"].n_unique(), (name, found)
            else:
                ids = {
                    "filter": lambda: right.filter(pl.col("quality") < _BELOW)["id"],
                    "top": lambda: right.top_k(_TOP, by="quality")["id"],
                    "semi-join": lambda: pl.read_parquet(job["ids"])["id"],
                }[query]()
                assert (found["rows"], found["ids"]) == (len(ids), ids.sum()), (name, found)
    assert rows >= right.height


def compare(report: Report, layout: str, tools: list[Tool], jobs: list[dict[str, Any]], rounds: int, rows: int) -> None:
    right = pl.read_parquet(jobs[0]["files"], columns=["id", "quality", "caption"])
    size = sum(Path(name).stat().st_size for name in glob(jobs[0]["files"]))
    report.say(f"## Written by {layout}: {size / 1e9:.2f} GB\n")
    table = []
    for job in jobs:
        cells = measure(tools, job, rounds)
        check(job, cells, rows, right)
        ours = cells["robodf"]
        turns = range(rounds)
        for tool in tools:
            cell = cells[tool.name]
            by_ours = [cell.turns[k]["seconds"] / ours.turns[k]["seconds"] for k in turns]
            best = tool.name == min((t.name for t in tools if t.name != "robodf"), key=lambda n: cells[n].seconds)
            table.append([
                f"{job['query']}, {cell.turns[-1]['rows']:,} rows" if tool is tools[0] else "",
                f"**{tool.name}**" if best or tool.name == "robodf" else tool.name,
                f"{cell.seconds:.3f}", f"{statistics.median(by_ours):.1f}",
                f"{min(by_ours):.1f} to {max(by_ours):.1f}",
                f"{cell.turns[-1]['calls'] / 1e6:,.1f}", f"{cell.cold['disk'] / 1e6:,.1f}",
                f"{cell.cold['seconds']:.2f}",
            ])  # fmt: skip
    report.table(
        ["query", "tool", "s", "times robodf's", "least to greatest", "MB by calls", "MB from disk, cold", "s, cold"],
        table,
    )


def main() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter that has Polars, DuckDB and Daft")
    parser.add_argument("--gb", type=float, help="of the set in one layout; 5 with --full, else 1")
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=LAYOUTS)
    parser.add_argument("--queries", nargs="+", choices=QUERIES, default=QUERIES)
    options = arguments(__doc__, parents=[parser], rounds=5)
    report = Report("heavy", "A few rows of files of images", options)
    report.say((__doc__ or "").split("\n", 7)[7])
    patterns, ids, rows = files(options.gb or (5 if options.full else 1))
    tools = [Tool("robodf", sys.executable)]
    tools += [Tool(name, options.peers or sys.executable) for name in (PEERS if options.peers else PEERS[:2])]
    if not options.peers:
        report.say("Daft is left out: no --peers given.\n")
    report.say(", ".join(f"{tool.name} {tool.version}" for tool in tools) + f". {rows:,} rows.\n")
    try:
        for layout in options.layouts:
            common = {"files": patterns[layout], "ids": str(ids), "below": _BELOW, "rows": _TOP, "seed": 7}
            jobs = [{"query": query, **common} for query in options.queries]
            compare(report, layout, tools, jobs, options.rounds, rows)
    finally:
        for tool in tools:
            tool.end()
    report.end()


if __name__ == "__main__":
    main()
