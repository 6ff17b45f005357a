"""robodf's Ray engine beside other ways to run the same queries on Ray, on one machine.

    python -m benchmarks.ray --gb 6 --peers /tmp/peers/bin/python --write

Each cell (a query by a peer) runs in a process of its own with a Ray cluster of its own, of the same CPUs and the same
object store: once cold (the cluster has just started and has no workers) and again warm. Starting the cluster is not in
the seconds. All rows of both runs are compared with those of DuckDB or Polars. Daft is of another interpreter (--peers,
see peers.py); Polars, Daft's own runner and robodf's local engine use no Ray and are there for information.

- group: sum, mean and count of 2 million groups, all of them brought to the caller
- join: the table with one of 2 million rows, then sums by 1,000 categories of the joined rows
- map: MCAP logs -> one topic, a range of time, computed columns and a filter on one -> Parquet
- recordings: count, mean, maximum and spread for each log
- align: two topics of each log at 50 Hz -> Parquet
"""

from __future__ import annotations

import argparse
import ctypes
import fnmatch
import os
import shutil
import signal
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.measure import Report, arguments, human
from benchmarks.ray_peers.process import Process
from benchmarks.ray_peers.watch import Use, Watch
from benchmarks.ray_queries import LOG_BYTES, ROW_BYTES, differs, expected, make_logs, make_tables, size_of

TABLES, LOGS = ("group", "join"), ("map", "recordings", "align")
RUNS = ("cold", "warm")


@dataclass(frozen=True)
class Peer:
    """A way to run queries: a module of ray_peers/ with its options."""

    name: str
    title: str
    module: str
    options: dict[str, Any] = field(default_factory=dict)
    queries: tuple[str, ...] = TABLES
    ray: bool = True  # whether it runs on a cluster
    ours: bool = True  # whether this interpreter has it
    counts: bool = False  # whether its count_rows is checked too


OURS = "robodf"
IN_WORKERS = 0.1  # the least share of the CPU seconds that workers of a query on Ray use
PEERS = (
    Peer(OURS, "**robodf on Ray**", "on_robodf", {"engine": "ray"}, TABLES + LOGS),
    Peer("core", "Ray Core by hand", "on_core", {}, TABLES + LOGS),
    Peer("core-broadcast", "Ray Core by hand, broadcast", "on_core", {"broadcast": True}, ("join",)),
    Peer("core-polars", "Ray Core by hand, read whole, then Polars", "on_core", {"polars_in_tasks": True}, ("map",)),
    Peer("daft", "Daft on Ray", "on_daft", {"runner": "ray"}, ours=False, counts=True),
    Peer("data", "Ray Data, defaults", "on_ray_data", {"tuned": False}),
    Peer("data-tuned", "Ray Data, tuned", "on_ray_data", {"tuned": True}),
    Peer("data-polars", "Ray Data, tuned, Polars in its tasks", "on_ray_data", {"tuned": True, "polars": True}),
    Peer("daft-native", "Daft native, no Ray", "on_daft", {"runner": "native"}, ray=False, ours=False, counts=True),
    Peer("polars", "Polars streaming, no Ray", "on_polars", ray=False),
    Peer("robodf-local", "robodf local, no Ray", "on_robodf", {"engine": "local"}, TABLES + LOGS, ray=False),
)


@dataclass
class Run:
    """One run of a cell: what it took, and what is wrong with its rows (empty: nothing)."""

    seconds: float
    use: Use
    wrong: str


@dataclass
class Cell:
    """What is known of a query by a peer, over all rounds."""

    runs: dict[str, list[Run]] = field(default_factory=lambda: {run: [] for run in RUNS})
    init: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    def seconds(self, run: str) -> float | None:
        found = [r.seconds for r in self.runs[run]]
        return statistics.median(found) if found else None

    @property
    def in_workers(self) -> float | None:
        """The share of the CPU seconds of warm runs that Ray's workers used. Cold ones pay for starting workers too."""
        warm = [r.use for r in self.runs["warm"]]
        return sum(u.workers for u in warm) / sum(u.cpu for u in warm) if warm else None

    @property
    def stayed(self) -> bool:
        """Whether the work was done in the driver: then it is no run on Ray, whatever engine was asked for."""
        return self.in_workers is not None and self.in_workers < IN_WORKERS


def measure(peer: Peer, query: str, cell: Cell, python: str, options: argparse.Namespace, folder: Path,
            data: dict[str, Any], right: pl.DataFrame) -> None:  # fmt: skip
    """Run a cell cold and warm and add to what is known of it."""
    # Sockets lie below Ray's folder and their paths must be short: beside the data, not inside it.
    session = tempfile.mkdtemp(prefix="rr-")
    cluster = {"num_cpus": options.cpus, "object_store_memory": int(options.store_gb * 1e9), "_temp_dir": session}
    spec = {"module": peer.module, "options": peer.options, "cluster": cluster if peer.ray else None}
    watch = Watch(os.getpid())
    process = Process(python, spec, options.timeout)
    try:
        hello = process.hear()
        cell.init.append(hello["init"])
        cell.versions = hello["versions"]
        for run in RUNS:
            result = folder / "result" / (run if query in ("map", "align") else f"{run}.parquet")
            shutil.rmtree(folder / "result", ignore_errors=True)
            result.parent.mkdir()
            watch.mark()
            answer = process.ask(query=query, result=str(result), **data)
            use = watch.mark()
            cell.runs[run].append(Run(answer["seconds"], use, differs(query, right, result)))
        if peer.counts and query == "group":
            said = _counted(process.ask(query="count", **data)["count"], right.height)
            cell.notes += [] if said in cell.notes else [said]
    except (RuntimeError, TimeoutError) as error:
        cell.notes.append(f"failed: {' '.join(str(error).split())[:160]}")
    finally:
        watch.end()
        process.end()
        shutil.rmtree(session, ignore_errors=True)
        shutil.rmtree(folder / "result", ignore_errors=True)
    said = ", ".join(f"{run} {cell.seconds(run) or float('nan'):.2f} s" for run in RUNS)
    print(f"<!-- {query}/{peer.name}: {said} {'; '.join(cell.notes)} -->", file=sys.stderr, flush=True)


def _counted(count: int, right: int) -> str:
    return "count_rows() right" if count == right else f"**count_rows() wrong**: {count:,} of {right:,}"


def table(report: Report, query: str, cells: dict[str, Cell]) -> None:
    ours = cells.get(OURS, Cell())
    if ours.stayed or any(r.wrong for run in RUNS for r in ours.runs[run]):
        ours = Cell()  # nothing is compared with rows that are wrong or that Ray had no part in
    head = ("", *(f"{run}, {unit}" for run in RUNS for unit in ("s", "by ours")), "CPU warm, s",
            "of it workers", "peak memory", "of it object store", "ray.init, s",
            "others, cores", "rows")  # fmt: skip
    rows = []
    for peer in PEERS:
        cell = cells.get(peer.name)
        if cell is None:
            continue
        row = [peer.title]
        for run in RUNS:
            seconds, base = cell.seconds(run), ours.seconds(run)
            row += ["-" if seconds is None else f"{seconds:.2f}"]
            row += ["-" if seconds is None or base is None else f"{seconds / base:.2f}"]
        done = [r for run in RUNS for r in cell.runs[run]]
        warm = [r.use.cpu for r in cell.runs["warm"]]
        row += [f"{statistics.median(warm):.1f}" if warm else "-"]
        row += [f"{cell.in_workers:.0%}" if peer.ray and cell.in_workers is not None else "-"]
        row += [human(max(r.use.memory for r in done)) if done else "-"]
        row += [human(max(r.use.store for r in done)) if done and peer.ray else "-"]
        row += [f"{statistics.median(cell.init):.1f}" if peer.ray and cell.init else "-"]
        row += [f"{statistics.median(r.use.others for r in done):.1f}" if done else "-"]
        wrong = sorted({f"**wrong** ({r.wrong})" for r in done if r.wrong})
        row += ["; ".join((wrong or ["right"] if done else []) + cell.notes).replace("|", "/")]
        if peer.ray and cell.stayed:
            row[-1] += "; **ran in the driver, not on Ray**"
        rows.append(row)
    report.table(head, rows)


def main() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--gb", type=float, help="the size of the table in memory; 6 with --full, else 0.3")
    parser.add_argument(
        "--cells", nargs="+", default=["*"], metavar="QUERY/PEER", help="patterns, as in group/* */core"
    )
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter that has Daft")
    parser.add_argument("--store-gb", type=float, default=4.0, help="the object store of each cluster")
    parser.add_argument("--scratch", type=Path, help="a folder for data, results and spilled objects")
    options = arguments(__doc__, parents=[parser], cpus=2, rounds=1, timeout=600)
    gigabytes = options.gb or (6.0 if options.full else 0.3)
    chosen = [
        (query, peer) for query in TABLES + LOGS for peer in PEERS
        if query in peer.queries and any(fnmatch.fnmatch(f"{query}/{peer.name}", p) for p in options.cells)
    ]  # fmt: skip
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans of a peer come to this process
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ended by `timeout`: data and clusters go all the same
    report = Report("ray", "Queries on Ray", options)
    report.say((__doc__ or "").split("\n", 4)[4])
    folder = Path(tempfile.mkdtemp(prefix="robodf-bench-", dir=options.scratch))
    try:
        data = _make(report, folder, gigabytes, {query for query, _ in chosen}, options)
        cells = _run(chosen, folder, data, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for query in TABLES + LOGS:
        if cells.get(query):
            report.say(f"## {query}\n")
            table(report, query, cells[query])
    for peer in PEERS:
        if versions := {
            k: v for by_name in cells.values() if peer.name in by_name for k, v in by_name[peer.name].versions.items()
        }:
            report.say(f"- {peer.title}: " + ", ".join(f"{name} {version}" for name, version in versions.items()))
    report.end()


def _make(
    report: Report, folder: Path, gigabytes: float, queries: set[str], options: argparse.Namespace
) -> dict[str, dict]:
    data: dict[str, dict] = {}
    if queries & set(TABLES):
        made = make_tables(folder, gigabytes)
        data |= dict.fromkeys(TABLES, made)
        report.say(
            f"The table: {made['big_rows']:,} rows of {ROW_BYTES} bytes ({gigabytes:g} GB) in {made['big_files']} "
            f"files, {human(size_of(folder / 'big'))} of zstd Parquet."
        )
    if queries & set(LOGS):
        made = make_logs(folder, max(8, round(gigabytes * 1e9 / 4 / LOG_BYTES)))
        data |= dict.fromkeys(LOGS, made)
        report.say(f"The logs: {len(made['logs'])}, {human(size_of(folder / 'logs'))} of zstd MCAP.")
    report.say(
        f"Each cluster: {options.cpus} CPUs, an object store of {options.store_gb:g} GB. The median of "
        f"{options.rounds} round(s). By ours: seconds by those of robodf on Ray, above 1 where robodf is faster. CPU: "
        "of the whole tree of processes, and the share of Ray's workers. Memory: proportional (PSS), of the tree, the "
        "object store counted once, the greatest of both runs. Others: the cores that the rest of the machine kept "
        "busy meanwhile; cells that differ in it do not compare.\n"
    )
    return data


def _run(
    chosen: list[tuple[str, Peer]], folder: Path, data: dict[str, dict], options: argparse.Namespace
) -> dict[str, dict]:
    cells: dict[str, dict[str, Cell]] = {}
    right: dict[str, pl.DataFrame] = {}
    for _ in range(options.rounds):
        for query, peer in chosen:
            cell = cells.setdefault(query, {}).setdefault(peer.name, Cell())
            python = sys.executable if peer.ours else options.peers
            if python is None:
                cell.notes = ["no --peers given"]
                continue
            if query not in right:
                right[query] = expected(query, data[query], folder)
            measure(peer, query, cell, python, options, folder, data[query], right[query])
    return cells


if __name__ == "__main__":
    main()
