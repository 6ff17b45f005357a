"""Rows that say the same: speed, memory and quality of robodf's dedup beside other tools.

    python -m benchmarks.dedup --full --peers /tmp/dedup_peers/bin/python --write

- fuzzy: documents in a column in memory -> the rows that stay, at a Jaccard similarity of 0.8 of runs of five words
- exact: keys of 64 bits, of 20 characters, and pairs with three more columns -> the first row of each, or any
- semantic: vectors with planted near-duplicates -> the rows that stay, at a cosine of 0.9
- recall: which of all similar pairs `similar_pairs` finds, by bands of similarity, on three kinds of texts

Each run is a process of its own, with its thread pools limited and tied to one core or two: CPU seconds are those of
the runs on one core, wall seconds those on two. Not timed: imports, reading the file, and a first run on 1,000 other
rows in which libraries compile. The tools take turns, the other way round every second time; figures are medians, and
ratios are made within a turn. Extra memory: the greatest resident size of the run without that before it, which holds
the input. Peers are of another interpreter (--peers):

    python -m venv /tmp/dedup_peers
    /tmp/dedup_peers/bin/pip install rensa datasketch xxhash daft scipy semhash faiss-cpu duckdb polars pyarrow \\
        datasets click click-option-group rich regex ftfy psutil tqdm
    /tmp/dedup_peers/bin/pip install --no-deps text-dedup        # its dependencies bring Spark and more

Quality is by exact similarity with all rows that stay, of up to 2,000 sampled rows each. Wrong: dropped rows that no
row which stays is similar to. Missed: rows that stay though a row before them stays and is similar, by these and the
rightly dropped ones.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks import dedup_corpora, dedup_truth
from benchmarks.dedup_truth import Shingles
from benchmarks.measure import HERE, Report, arguments, human

PARTS = ("fuzzy", "exact", "semantic", "recall")
WORDS, PERMUTATIONS, LEAST, COSINE = 5, 128, 0.8, 0.9
SAMPLE = 2000
FEW = 1000  # rows of the run before the one that is measured
ONCE = 60.0  # seconds: what takes longer is not run again
POOLS = ("POLARS_MAX_THREADS", "RAYON_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS",
         "MKL_NUM_THREADS", "TOKENIZERS_PARALLELISM")  # fmt: skip


@dataclass(frozen=True)
class Tool:
    """A module of dedup_peers/ with its options."""

    name: str
    title: str
    module: str
    options: dict[str, Any] = field(default_factory=dict)
    ours: bool = False  # whether this interpreter has it


OURS = "robodf"
_ROBODF = Tool(OURS, "**robodf**", "on_robodf", ours=True)
FUZZY = (
    _ROBODF,
    Tool("rensa", "rensa, R-MinHash and LSH", "on_rensa"),
    Tool("rensa-rho", "rensa, its sampling pipeline", "on_rensa", {"rho": True}),
    Tool("daft", "Daft minhash, 16 x 8, components by SciPy", "on_daft", {"rows": 8}),
    Tool("datasketch", "datasketch MinHashLSH", "on_datasketch", {"script": False}),
    Tool("polars-datasketch", "a script: Polars, datasketch in bulk, xxhash", "on_datasketch", {"script": True}),
    Tool("text-dedup", "text-dedup minhash", "on_text_dedup"),
)
EXACT = (
    _ROBODF,
    Tool("polars-first", "Polars unique, first, in order", "on_polars", {"first": True}, ours=True),
    Tool("polars-any", "Polars unique, any, no order", "on_polars", {"first": False}, ours=True),
    Tool("duckdb-any", "DuckDB DISTINCT ON, any, no order", "on_duckdb"),
    Tool("duckdb-first", "DuckDB DISTINCT ON, first", "on_duckdb", {"keep": "first"}),
    Tool("duckdb-keys", "DuckDB DISTINCT, keys only", "on_duckdb", {"keep": "keys"}),
)
SEMANTIC = (
    _ROBODF,
    Tool("semhash", "semhash, usearch", "on_semhash"),
    Tool("faiss", "FAISS flat, range search", "on_faiss"),
)


@dataclass
class Case:
    """One task on one file, and how the rows that a tool kept are judged: a text for each of `heads`."""

    task: str
    path: Path
    warm_up: Path  # few rows of the same kind
    rows: int
    options: dict[str, Any]
    heads: tuple[str, ...]
    judge: Any


@dataclass
class Cell:
    """What is known of a tool in a case: its runs by number of cores and turn, and the rows it kept in the last."""

    runs: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)
    kept: np.ndarray | None = None
    rows: int | None = None
    note: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    def median(self, cores: int, name: str) -> float | None:
        found = [run[name] for (c, _), run in self.runs.items() if c == cores]
        return statistics.median(found) if found else None

    def ratio(self, ours: Cell, cores: int, name: str) -> float | None:
        """Theirs by ours: above 1 where ours is better. Where theirs ran less often, with our median."""
        found = [
            run[name] / ours.runs.get(key, {name: ours.median(cores, name)})[name]
            for key, run in self.runs.items() if key[0] == cores and ours.median(cores, name)
        ]  # fmt: skip
        return statistics.median(found) if found else None


def run(tool: Tool, case: Case, cores: int, python: str, options: argparse.Namespace, cell: Cell, turn: int) -> None:
    """One process; what it says goes into the cell, or why it said nothing."""
    with tempfile.TemporaryDirectory(prefix="robodf-dedup-", dir=options.scratch) as scratch:
        said = {**case.options, **tool.options}
        spec = {"module": tool.module, "task": case.task, "path": str(case.path), "warm_up": str(case.warm_up),
                "cores": cores, "scratch": scratch, "options": said}  # fmt: skip
        # Settings that this shell has for a tool would change what is compared.
        environment = {n: v for n, v in os.environ.items() if not n.startswith(("DAFT_", "POLARS_", "ROBODF_", "HF_"))}
        environment |= dict.fromkeys(POOLS, str(cores)) | {"HF_HOME": scratch, "HF_HUB_OFFLINE": "1"}
        errors = Path(scratch, "errors")
        with errors.open("w") as into:
            process = subprocess.Popen(
                [python, "-m", "benchmarks.dedup_peers.serve", json.dumps(spec)], cwd=HERE.parent, env=environment,
                stdout=subprocess.PIPE, stderr=into, text=True, start_new_session=True,
            )  # fmt: skip
            cell.note = _wait(process, options.limit, options.memory_gb * 1e9)
            if cell.note:
                return
            answer = process.stdout.read() if process.stdout else ""
        if process.returncode:
            last = errors.read_text(errors="replace").strip().splitlines()[-1:] or [f"ended with {process.returncode}"]
            absent = last[0].startswith("ModuleNotFoundError")
            cell.note = f"absent: {last[0].partition(': ')[2]}" if absent else f"failed: {last[0][:160]}"
            return
        found = json.loads(answer.splitlines()[-1])
        cell.runs[cores, turn], cell.rows, cell.versions = found, found["rows"], found["versions"]
        kept = Path(scratch, "kept.npy")
        cell.kept = np.load(kept) if kept.exists() else None


def _wait(process: subprocess.Popen[str], limit: float, memory: float) -> str:
    """Empty where it ended in time, else why it was stopped."""
    started = time.monotonic()
    try:
        while process.poll() is None:
            if time.monotonic() - started > limit:
                return f"stopped after {limit:.0f} s"
            if _resident(process.pid) > memory:
                return f"stopped above {human(memory)} of memory"
            time.sleep(0.05)
        return ""
    finally:
        if process.poll() is None:  # also where this process is interrupted
            os.killpg(process.pid, signal.SIGKILL)  # a session of its own: with what it has started
            process.wait()


def _resident(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return 0  # it ended meanwhile
    return pages * os.sysconf("SC_PAGE_SIZE")


def compare(report: Report, title: str, tools: tuple[Tool, ...], case: Case, options: argparse.Namespace) -> None:
    """All tools in turns, and their table."""
    cells = {tool.name: Cell() for tool in tools if options.tools is None or tool.name in options.tools}
    chosen = [tool for tool in tools if tool.name in cells]
    for turn in range(options.rounds):
        for tool in chosen if turn % 2 == 0 else chosen[::-1]:
            cell = cells[tool.name]
            python = sys.executable if tool.ours else options.peers
            if python is None:
                cell.note = "absent: no --peers given"
            elif not Path(python).exists():
                cell.note = f"absent: {python} does not exist"
            slow = turn and (cell.median(1, "wall") or 0.0) > ONCE
            for cores in (1, 2):
                if python is not None and not cell.note and not slow:
                    run(tool, case, cores, python, options, cell, turn)
            print(f"<!-- {case.path.stem}/{tool.name}: {cell.runs} {cell.note} -->", file=sys.stderr, flush=True)
    report.say(f"### {title}\n")
    head = ("", "CPU s, one core", "by ours", "wall s, two cores", "by ours", "extra memory a row", "rows kept",
            *case.heads, "runs", "")  # fmt: skip
    ours = cells.get(OURS, Cell())
    rows = []
    for tool in chosen:
        cell = cells[tool.name]
        extra = cell.median(1, "extra")
        known = cell.rows is not None
        rows.append([
            tool.title, _figure(cell.median(1, "cpu")), _figure(cell.ratio(ours, 1, "cpu")),
            _figure(cell.median(2, "wall")), _figure(cell.ratio(ours, 2, "wall")),
            "-" if extra is None else human(max(0.0, extra / case.rows)), f"{cell.rows:,}" if known else "-",
            *(case.judge(cell) if known else ("-",) * len(case.heads)),
            sum(cores == 1 for cores, _ in cell.runs), cell.note.replace("|", "/"),
        ])  # fmt: skip
    report.table(head, rows)
    versions = {name: version for cell in cells.values() for name, version in cell.versions.items()}
    report.say(", ".join(f"{name} {version}" for name, version in sorted(versions.items())) + "\n")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if value < 100 else f"{value:.0f}"


# -- the parts ---------------------------------------------------------------------------------------------------


def fuzzy(report: Report, options: argparse.Namespace) -> None:
    for rows in options.documents or ([100_000, 1_000_000] if options.full else [10_000]):
        path = dedup_corpora.documents(rows)

        def judge(cell: Cell, path: Path = path) -> tuple[str, str]:
            # Made when all have run: it takes as much memory as the texts.
            sets = dedup_truth.sets_of(pl.read_parquet(path)["text"], Shingles("words", WORDS))
            found = dedup_truth.verdict_on_texts(sets, _rows(cell), LEAST, SAMPLE)
            return f"{found.wrong:.2%}", f"{found.missed:.2%}"

        size = pl.scan_parquet(path).select(pl.col("text").str.len_bytes().sum()).collect().item()
        said = {"threshold": LEAST, "words": WORDS, "perms": PERMUTATIONS}
        case = Case("fuzzy", path, dedup_corpora.documents(FEW), rows, said, ("wrong", "missed"), judge)
        compare(report, f"{rows:,} documents, {human(size)} of text", FUZZY, case, options)


def _rows(cell: Cell) -> np.ndarray:
    assert cell.kept is not None, "a tool that gives rows gives their numbers"
    return np.sort(cell.kept)


def exact(report: Report, options: argparse.Namespace) -> None:
    rows = options.keys or (10_000_000 if options.full else 1_000_000)
    titles = {"int": "keys of 64 bits", "string": "keys of 20 characters", "two": "pairs of keys, three columns more"}
    for kind, title in titles.items():
        path = dedup_corpora.keys(rows, kind)
        on = ["a", "b"] if kind == "two" else ["key"]
        # The right rows by other means than those measured: numbers of keys, then NumPy's first of each.
        frame = pl.read_parquet(path)
        groups = frame.select(pl.struct(on).rank("dense")).to_series().to_numpy()
        first = np.sort(np.unique(groups, return_index=True)[1])

        def judge(cell: Cell, groups: np.ndarray = groups, first: np.ndarray = first) -> tuple[str]:
            if cell.kept is None:  # of DISTINCT of keys alone
                return (f"{'right' if cell.rows == first.size else '**wrong**'} number",)
            if np.array_equal(cell.kept, first):
                return ("the first of each, in order",)
            if np.array_equal(np.sort(cell.kept), first):
                return ("the first of each",)
            right = cell.kept.size == first.size and np.unique(groups[cell.kept]).size == first.size
            return ("one of each" if right else "**wrong**",)

        case = Case("exact", path, dedup_corpora.keys(FEW, kind), rows, {"on": on}, ("rows",), judge)
        compare(report, f"{rows:,} rows with {title}, {first.size:,} distinct", EXACT, case, options)


def semantic(report: Report, options: argparse.Namespace) -> None:
    rows, width = options.vectors or (50_000 if options.full else 5_000), 256
    path = dedup_corpora.vectors(rows, width)
    made = pl.read_parquet(path)["v"].to_numpy()

    def judge(cell: Cell) -> tuple[str, str]:
        found = dedup_truth.verdict_on_vectors(made, _rows(cell), COSINE, SAMPLE)
        return f"{found.wrong:.2%}", f"{found.missed:.2%}"

    case = Case(
        "semantic", path, dedup_corpora.vectors(FEW, width), rows, {"threshold": COSINE}, ("wrong", "missed"), judge
    )
    compare(report, f"{rows:,} vectors of {width} float32, {human(made.nbytes)}", SEMANTIC, case, options)


def recall(report: Report, options: argparse.Namespace) -> None:
    """In this process: nothing is timed but for order of magnitude."""
    import robodf as rd
    from robodf.dedup.banding import recall_at
    from robodf.dedup.fuzzy import Fuzzy

    rd.config(progress=False)
    promised = 0.99
    edges = (0.8, 0.85, 0.9, 0.95, 1.0)
    report.say(
        f'`similar_pairs("text", threshold={LEAST}, recall={promised})` beside an exact join, which was compared '
        "with sets of Python on 300 texts of each kind. The bound is that of the lower edge with the b x r keys which "
        "that recall takes: 1 - (1 - s^r)^b. Identical texts are left out.\n"
    )
    documents = 100_000 if options.full else 5_000
    orders = 1_000_000 if options.full else 100_000
    kinds = (
        (f"{documents:,} documents", dedup_corpora.documents(documents), Shingles("words", WORDS)),
        (f"{orders:,} instructions", dedup_corpora.instructions(orders), Shingles("chars", 5)),
        ("captions made from shared test data", dedup_corpora.captions(documents // 5), Shingles("chars", 5)),
    )
    head = ("", "distinct texts", "pairs", *(f"{low:.2f} to {high:.2f}" for low, high in pairwise(edges)),
            "not similar", "s, ours", "s, exact")  # fmt: skip
    rows = []
    for title, path, shingles in kinds:
        if path is None:
            report.say(f"{title}: left out, there is no ../shared/data.\n")
            continue
        texts = pl.read_parquet(path)["text"].unique(maintain_order=True)
        dedup_truth.check(texts.head(300), shingles, LEAST)
        started = time.perf_counter()
        right = dedup_truth.join(dedup_truth.sets_of(texts, shingles), LEAST)
        exactly = time.perf_counter() - started
        cut = rd.words(shingles.size) if shingles.unit == "words" else rd.chars(shingles.size)
        method = Fuzzy(threshold=LEAST, recall=promised, shingle=cut)
        started = time.perf_counter()
        asked = rd.from_polars(texts.to_frame()).similar_pairs("text", threshold=LEAST, recall=promised, shingle=cut)
        got = asked.collect()
        ours = time.perf_counter() - started
        found = np.isin(_pairs(right.lo, right.hi), _pairs(got["lo"].to_numpy(), got["hi"].to_numpy()))
        band = np.digitize(right.similarity, edges[1:-1])
        shares = []
        for number, low in enumerate(edges[:-1]):
            of = found[(band == number) & (right.similarity < 1)]
            bound = recall_at(low, method.bands, method.rows)
            shares.append(f"{of.mean():.4f} of {of.size:,} (bound {bound:.4f})" if of.size else "none there")
        rows.append([
            f"{title}, {shingles.unit} {shingles.size}, {method.bands} x {method.rows}", f"{len(texts):,}",
            f"{right.lo.size:,}", *shares,
            _differing(right, got), f"{ours:.1f}", f"{exactly:.1f}",
        ])  # fmt: skip
    report.table(head, rows)


def _pairs(lo: np.ndarray, hi: np.ndarray) -> np.ndarray:
    return (lo.astype(np.uint64) << np.uint64(32)) | hi.astype(np.uint64)


def _differing(right: dedup_truth.Pairs, got: pl.DataFrame) -> str:
    """How many pairs were given that are not there, or with another similarity."""
    order, theirs = _pairs(right.lo, right.hi), _pairs(got["lo"].to_numpy(), got["hi"].to_numpy())
    if not order.size:
        return str(theirs.size)
    at = np.minimum(np.searchsorted(order, theirs), order.size - 1)
    agree = (order[at] == theirs) & (np.abs(right.similarity[at] - got["similarity"].to_numpy()) < 1e-9)
    return f"{int((~agree).sum()):,}"


def main() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter that has the other tools")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts of the benchmark")
    parser.add_argument("--tools", nargs="+", metavar="NAME", help="tools by name, such as robodf rensa duckdb-any")
    parser.add_argument("--documents", nargs="+", type=int, help="sizes; 100000 1000000 with --full, else 10000")
    parser.add_argument("--scratch", type=Path, help="a folder for what tools write")
    options = arguments(__doc__, parents=[parser], keys=0, vectors=0, rounds=3, limit=900, memory_gb=16)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ended by `timeout`: the tool that runs ends too
    report = Report("dedup", "Rows that say the same", options)
    report.say((__doc__ or "").split("\n", 4)[4])
    report.say(
        f"A run is stopped after {options.limit} s or above {options.memory_gb} GB. What takes more than {ONCE:.0f} s "
        "is run once. By ours: above 1 where robodf takes less.\n"
    )
    for part in options.only:
        report.say(f"## {part}\n")
        {"fuzzy": fuzzy, "exact": exact, "semantic": semantic, "recall": recall}[part](report, options)
    report.say(f"1-minute load at the end: {os.getloadavg()[0]:.1f}.")
    report.end()


if __name__ == "__main__":
    main()
