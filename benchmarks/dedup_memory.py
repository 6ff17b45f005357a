"""Memory of dedup over data that is many times larger than what the process may take.

    python -m benchmarks.dedup_memory --gb 20 --folder /big --delete --write

- images: Parquet of about 100 KB of bytes a row -> `dedup(on="image")` -> Parquet
- texts: Parquet of about 20 KB of text a row -> `dedup(on="text", method="fuzzy")` -> Parquet

A fifth of the rows repeat one before them, images byte by byte, texts with a few words changed (a similarity of about
0.95); which ones the generator knows, and exactly these must be gone, with the others in their order. A sample of the
rows that were written is compared with what the generator makes. Each pipeline runs in a process of its own whose
private memory the kernel limits (RLIMIT_DATA, which counts also what was reserved and never touched; files that are
mapped do not count). Its resident anonymous memory (RssAnon) is sampled 50 times a second, and above the limit the
process is killed; with `--by resident` that is the only limit. All resident memory (VmHWM), files that are mapped too,
is the kernel's own greatest. The last row of each is a control: the whole column in memory, which must fail.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import DATA, Report, arguments, human

LIMIT = 2 << 30
IMAGE, TEXT = 100_000, 20_000  # bytes a row, on the average
WORDS, _WORD = 20_000, 8  # of the vocabulary, and the bytes of each with its blank
REPEATED, EDITED = 0.2, 0.005  # shares of rows, and of the words of a copied text
_FILE, _GROUP = 200_000_000, 25_000_000  # bytes of a file, and of a row group
# Allocators keep address space that they do not use, and that is what is limited: glibc an arena for each thread, the
# jemalloc of Polars what was freed.
ARENAS = {"MALLOC_ARENA_MAX": "2", "_RJEM_MALLOC_CONF": "retain:false,dirty_decay_ms:0,muzzy_decay_ms:0"}


# -- the data ----------------------------------------------------------------------------------------------------


def sources(rows: int) -> np.ndarray:
    """For each row the row that it repeats, itself where it is an original: always an original before it."""
    rng = np.random.default_rng(31)
    repeats = rng.random(rows) < REPEATED
    repeats[0] = False
    originals = np.flatnonzero(~repeats)
    before = np.cumsum(~repeats)
    found = np.arange(rows)
    found[repeats] = originals[(rng.random(int(repeats.sum())) * before[repeats]).astype(np.int64)]
    return found


def image(row: int, source: int) -> bytes:
    """Bytes that cannot be compressed, of an original's number alone."""
    rng = np.random.default_rng((41, source))
    return rng.bytes(int(rng.integers(IMAGE * 6 // 10, IMAGE * 14 // 10)))


def text(row: int, source: int) -> str:
    """Words by Zipf's law; in a copy one word of 200 is another."""
    rng = np.random.default_rng((43, source))
    words = _drawn(rng, int(rng.integers(TEXT * 6 // 10, TEXT * 14 // 10)) // _WORD)
    if row != source:
        own = np.random.default_rng((47, row))
        changed = own.random(words.size) < EDITED
        words[changed] = _drawn(own, int(changed.sum()))
    return _vocabulary()[words].tobytes().decode("ascii").rstrip()


_MAKERS: dict[str, Callable[[int, int], Any]] = {"image": image, "text": text}
_known: dict[str, np.ndarray] = {}


def _drawn(rng: np.random.Generator, number: int) -> np.ndarray:
    if "zipf" not in _known:
        weights = np.cumsum(1.0 / np.arange(1, WORDS + 1))
        _known["zipf"] = weights / weights[-1]
    return np.searchsorted(_known["zipf"], rng.random(number))


def _vocabulary() -> np.ndarray:
    """(WORDS, 8) bytes: seven letters and a blank."""
    if "words" not in _known:
        letters = np.random.default_rng(53).integers(97, 123, (WORDS, _WORD), dtype=np.uint8)
        letters[:, -1] = 32
        _known["words"] = letters
    return _known["words"]


def written(folder: Path, column: str, rows: int) -> Path:
    """The folder with the data set, made once; RuntimeError where the disk has no room for it and what comes of it."""
    target = folder / f"dedup-{column}-{rows}"
    mark = target / "complete.json"
    if mark.exists():
        return target
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    size = IMAGE if column == "image" else TEXT
    free = shutil.disk_usage(folder).free
    needed = rows * size * 2  # what is written from it lies beside it
    if free < needed:
        raise RuntimeError(
            f"{folder} has {human(free)} free and {human(needed)} are needed: a smaller --gb, or --delete"
        )
    schema = pa.schema({"id": pa.int64(), column: pa.large_binary() if column == "image" else pa.large_string()})
    make, repeats = _MAKERS[column], sources(rows)
    for part, start in enumerate(range(0, rows, _FILE // size)):
        with pq.ParquetWriter(target / f"part-{part:04}.parquet", schema, compression="none") as writer:
            end = min(rows, start + _FILE // size)
            for first in range(start, end, _GROUP // size):
                ids = range(first, min(end, first + _GROUP // size))
                made = [make(row, int(repeats[row])) for row in ids]
                writer.write_table(pa.table([pa.array(ids), pa.array(made, schema.types[1])], schema))
    mark.write_text(json.dumps({"rows": rows}), encoding="utf-8")
    return target


# -- what is measured --------------------------------------------------------------------------------------------


def images(source: str, target: str) -> int:
    """dedup(on="image") to Parquet"""
    import robodf as rd

    return rd.read_parquet(source).dedup(on="image").to_parquet(target).rows


def texts(source: str, target: str) -> int:
    """dedup(on="text", method="fuzzy", shingle=rd.words(5)) to Parquet"""
    import robodf as rd

    found = rd.read_parquet(source).dedup(on="text", method="fuzzy", threshold=0.8, shingle=rd.words(5))
    return found.to_parquet(target).rows


def control(source: str, target: str) -> int:
    """the control: all of it in memory"""
    return pl.read_parquet(source).height


_PIPELINES: dict[str, Callable[[str, str], int]] = {f.__name__: f for f in (images, texts, control)}


def child(name: str, source: str, target: str, limit: int) -> None:
    if limit:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    import robodf as rd

    rd.config(progress=False)
    started = time.perf_counter()
    rows = _PIPELINES[name](source, target)
    print(json.dumps({"rows": rows, "seconds": time.perf_counter() - started, "all": _status(os.getpid(), "VmHWM")}))


def run(name: str, source: Path, target: Path, limit: int, reserved: bool, timeout: float) -> dict[str, Any]:
    """The figures of a pipeline, or how it ended; the peak is known in both cases."""
    files = str(source / "*.parquet")
    command = [sys.executable, "-m", "benchmarks.dedup_memory", "--child", name, files, str(target)]
    command.append(str(limit if reserved else 0))
    peak, started = 0, time.monotonic()
    with tempfile.TemporaryFile("w+") as errors:
        environment = {**os.environ, **ARENAS}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
        try:
            while process.poll() is None:
                peak = max(peak, _status(process.pid, "RssAnon"))
                late = time.monotonic() - started > timeout
                if late or peak > limit:
                    reason = f"stopped after {timeout:.0f} s" if late else f"killed above {human(limit)}"
                    return {"failed": reason, "peak": peak}
                time.sleep(0.02)
        finally:
            if process.poll() is None:  # too much, too late, or this process is interrupted
                process.kill()
                process.wait()
        said = process.stdout.read() if process.stdout else ""
        errors.seek(0)
        complaint = (errors.read().strip().splitlines() or [""])[-1][:160].replace("|", "/")
    if process.returncode:
        return {"failed": f"ended with {process.returncode}: {complaint}", "peak": peak}
    return {**json.loads(said.splitlines()[-1]), "peak": peak}


def _status(pid: int, field: str) -> int:
    """A figure of /proc/<pid>/status in bytes; 0 where the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), 0)


def judged(target: Path, column: str, rows: int) -> str:
    """Whether exactly the originals were written, in their order, and some of them byte by byte."""
    frame = pl.scan_parquet(target / "*.parquet" if target.is_dir() else target)
    repeats = sources(rows)
    right = np.flatnonzero(repeats == np.arange(rows))
    ids = frame.select("id").collect()["id"].to_numpy()
    if not np.array_equal(ids, right):
        lost, left = np.setdiff1d(right, ids).size, np.setdiff1d(ids, right).size
        return f"**wrong**: {lost:,} originals lost, {left:,} copies left" + ("" if lost or left else ", order differs")
    asked = np.random.default_rng(59).choice(right, min(100, right.size), replace=False)
    some = frame.filter(pl.col("id").is_in(pl.Series(asked).implode())).collect(engine="streaming")
    same = all(value == _MAKERS[column](row, row) for row, value in zip(some["id"], some[column]))
    return (
        f"exactly the copies are gone, {some.height} rows compared" if same else "**wrong**: other bytes than written"
    )


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
        return
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--gb", type=float, help="the size of each data set; 20 with --full, else 2")
    parser.add_argument("--folder", type=Path, default=DATA, help="where data sets and results are written")
    parser.add_argument("--delete", action="store_true", help="delete each data set after its run, for small disks")
    parser.add_argument("--only", choices=("images", "texts"), help="one of them")
    parser.add_argument("--by", choices=("reserved", "resident"), default="reserved", help="what the limit counts")
    options = arguments(__doc__, parents=[parser], limit_mib=LIMIT >> 20, timeout=3600)
    gigabytes = options.gb or (20.0 if options.full else 2.0)
    limit = options.limit_mib << 20
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ended by `timeout`: the pipeline ends too
    report = Report("dedup_memory", f"Memory of dedup under a limit of {human(limit)} on the process", options)
    report.say((__doc__ or "").split("\n", 4)[4])
    options.folder.mkdir(parents=True, exist_ok=True)
    table = []
    for name, column, size in (("images", "image", IMAGE), ("texts", "text", TEXT)):
        if options.only not in (None, name):
            continue
        rows = int(gigabytes * 1e9 / size)
        source = written(options.folder, column, rows)
        held = sum(f.stat().st_size for f in source.glob("*.parquet"))
        for pipeline in (name, "control"):
            target = options.folder / f"dedup-out-{os.getpid()}"
            found = run(pipeline, source, target, limit, options.by == "reserved", options.timeout)
            if pipeline == "control":
                # Where all of it fits, the limit shows nothing.
                fails = "failed" in found or held < limit
                said = "fails, as it must" if "failed" in found else "fits" if fails else "**the limit does not hold**"
            else:
                said = found.get("failed") or judged(target, column, rows)
            shutil.rmtree(target, ignore_errors=True)
            title = (_PIPELINES[pipeline].__doc__ or "").splitlines()[0]
            table.append([
                f"{name}: {title}", human(held), f"{rows:,}", f"{found['rows']:,}" if "rows" in found else "-",
                human(found["peak"]), human(found["all"]) if "all" in found else "-",
                f"{found['seconds']:.1f} s" if "seconds" in found else "-", said,
            ])  # fmt: skip
            print(f"<!-- {table[-1]} -->", file=sys.stderr, flush=True)
        if options.delete:
            shutil.rmtree(source)
    head = ["pipeline", "data", "rows", "rows out", "greatest RssAnon", "VmHWM", "time", ""]
    report.table(head, table)
    report.end()


if __name__ == "__main__":
    main()
