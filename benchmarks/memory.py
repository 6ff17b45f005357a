"""Memory of pipelines over data several times larger than the limit of 1 GiB that is set on the process.

Each pipeline runs in a process of its own. A watchdog reads its resident size 50 times a second and kills it above the
limit; the kernel's own high-water mark (VmHWM: the greatest resident size ever, none missed) is checked at the end.
RLIMIT_AS and RLIMIT_DATA are not used because they count address space that allocators and threads reserve and never
touch (Polars and pyarrow reserve two to four times what they hold), and RLIMIT_RSS does nothing on Linux. Libraries and
pages of mapped files count here. The last row is a control that must be killed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.measure import DATA, Report, arguments, human
from benchmarks.recordings import camera_log
from benchmarks.tables import frames

LIMIT = 1 << 30
OUT = DATA / "out"


def parquet_filter(source: str, target: str) -> int:
    """read -> filter -> with_columns -> to_parquet: about half of the rows stay."""
    import robodf as rd

    c = rd.col
    df = rd.read_parquet(source).filter(c("force") > 2.5).with_columns(speed=(c("vx") ** 2 + c("vy") ** 2).sqrt())
    return df.to_parquet(target).rows


def parquet_group(source: str, target: str) -> int:
    """read -> group_by -> to_parquet: only the groups are held."""
    import robodf as rd

    c = rd.col
    return rd.read_parquet(source).group_by("episode").agg(c("force").mean(), c("x").max()).to_parquet(target).rows


def parquet_map(source: str, target: str) -> int:
    """read -> map_batches in Python -> to_parquet."""
    import robodf as rd

    def scaled(batch: pl.DataFrame) -> pl.DataFrame:
        return batch.select("episode", "frame", (pl.col("force") * 2).alias("force2"))

    schema = {"episode": pl.Int32, "frame": pl.Int32, "force2": pl.Float32}
    return rd.read_parquet(source).map_batches(scaled, 8192, schema=schema).to_parquet(target).rows


def mcap_filter(source: str, target: str) -> int:
    """read_mcap (camera frames and all) -> filter -> to_parquet: every second frame stays."""
    import robodf as rd

    df = rd.read_mcap(source).filter(rd.col("topic") == "/camera", rd.col("sequence") % 2 == 0)
    return df.to_parquet(target).rows


def mcap_batches(source: str, target: str) -> int:
    """read_mcap -> iter_batches: a training loop over frames."""
    import robodf as rd

    frames = rd.read_mcap(source).filter(rd.col("topic") == "/camera").select("log_time", "data")
    return sum(batch.height for batch in frames.iter_batches(64))


def too_much(source: str, target: str) -> int:
    """the control: the whole table in memory, which must be killed where it is larger than the limit."""
    return pl.read_parquet(source).height


PIPELINES: dict[str, Callable[[str, str], int]] = {
    f.__name__: f for f in (parquet_filter, parquet_group, parquet_map, mcap_filter, mcap_batches, too_much)
}


def expected(name: str, files: str, rows: int, seconds: int) -> int:
    """How many rows a pipeline must give, by another way."""
    if name == "parquet_filter":
        query = pl.scan_parquet(files).filter(pl.col("force") > 2.5).select(pl.len())
        return int(query.collect(engine="streaming").item())
    return {
        "parquet_group": -(-rows // 900),
        "parquet_map": rows,
        "mcap_filter": seconds * 15,
        "mcap_batches": seconds * 30,
        "too_much": rows,
    }[name]


def written() -> int | None:
    """Rows in the files that a pipeline wrote; None where it wrote none."""
    files = sorted((OUT / "result").glob("*.parquet")) if (OUT / "result").is_dir() else []
    return int(pl.scan_parquet(files).select(pl.len()).collect().item()) if files else None


def child(name: str, source: str, target: str) -> None:
    """Runs one pipeline and prints its figures."""
    import robodf  # noqa: F401 - its memory is in the peak, its time is not in the seconds

    started = time.perf_counter()
    rows = PIPELINES[name](source, target)
    elapsed = time.perf_counter() - started
    print(json.dumps({"rows": rows, "seconds": elapsed, "peak": _resident(os.getpid(), "VmHWM")}))


def _resident(pid: int, field: str) -> int:
    """A figure of /proc/<pid>/status in bytes; 0 where the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), 0)


def run(name: str, source: Path, limit: int) -> dict[str, Any]:
    """The figures of a pipeline, or how it ended."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    files = str(source / "*.parquet") if source.is_dir() else str(source)
    command = [sys.executable, "-m", "benchmarks.memory", "--child", name, files, str(OUT / "result")]
    killed = False
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        while process.poll() is None:
            if _resident(process.pid, "VmRSS") > limit:
                process.kill()
                killed = True
            time.sleep(0.02)
        said = process.stdout.read() if process.stdout else ""
        errors.seek(0)
        complaint = errors.read().strip().splitlines()[-1:]
    rows = written()
    shutil.rmtree(OUT, ignore_errors=True)
    if killed:
        return {"failed": f"killed above {human(limit)}"}
    if process.returncode:
        return {"failed": f"ended with {process.returncode}: {complaint}"}
    found = json.loads(said)
    assert rows in (None, found["rows"]), (name, rows, found["rows"])
    return found if found["peak"] <= limit else {"failed": f"peak of {human(found['peak'])}"}


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3], sys.argv[4])
        return
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--only", help=f"one of {', '.join(PIPELINES)}")
    options = arguments(__doc__, parents=[parser], rows=0, seconds=0, limit_mib=LIMIT >> 20)
    rows = options.rows or (40_000_000 if options.full else 4_000_000)
    seconds = options.seconds or (900 if options.full else 60)
    limit = options.limit_mib << 20
    report = Report("memory", f"Memory under a limit of {human(limit)} on the process", options)
    report.say((__doc__ or "").split("\n", 2)[2])
    table = []
    for name, function in PIPELINES.items():
        if options.only not in (None, name):
            continue
        source = camera_log(seconds) if name.startswith("mcap") else frames(rows)
        files = list(source.glob("*.parquet")) if source.is_dir() else [source]
        disk = sum(f.stat().st_size for f in files)
        held = rows * BYTES_A_ROW if source.is_dir() else disk
        found = run(name, source, limit)
        if "failed" not in found:
            wanted = expected(name, str(source / "*.parquet"), rows, seconds)
            assert found["rows"] == wanted, (name, found["rows"], wanted)
            assert name != "too_much" or held < limit, "the limit does not hold"
        figures = ["-", "-", found["failed"]] if "failed" in found else [
            f"{found['rows']:,}", human(found["peak"]), f"{found['seconds']:.1f} s"]  # fmt: skip
        said = (function.__doc__ or "").splitlines()[0].rstrip(".")
        table.append([f"{name}: {said}", human(disk), human(held), *figures])
    report.table(["pipeline", "on disk", "in memory", "rows out", "greatest resident size", "time"], table)
    report.end()


BYTES_A_ROW = 109  # of frames(), by DataFrame.estimated_size


if __name__ == "__main__":
    main()
