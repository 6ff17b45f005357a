"""What each tool does with Parquet files of images: run by an interpreter that has it, see heavy.py.

    python benchmarks/heavy_tools.py TOOL

A job a line: query, pattern of the files, where the wanted ids are, how many rows to draw. The answer: seconds, the
rows, the sum of their ids, and the bytes that the process read by calls and from the disk.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import time
from glob import glob
from typing import Any

TAKEN = ["id", "caption", "image"]


def robodf(query: str, job: dict) -> Any:
    import robodf as rd

    rd.config(progress=False)
    frame, taken = rd.read_parquet(job["files"]), [rd.col(name) for name in TAKEN]
    if query == "filter":
        frame = frame.filter(rd.col("quality") < job["below"])
    elif query == "top":
        frame = frame.sort("quality", descending=True).head(job["rows"])
    elif query == "sample":
        frame = frame.sample(job["rows"], seed=job["seed"])
    elif query == "semi-join":
        frame = frame.join(rd.read_parquet(job["ids"]), on="id", how="semi")
    else:
        frame = frame.dedup("caption")
    return frame.select(*taken).collect().to_arrow()


def polars(query: str, job: dict) -> Any:
    import polars as pl

    frame = pl.scan_parquet(job["files"])
    if query == "filter":
        frame = frame.filter(pl.col("quality") < job["below"])
    elif query == "top":
        frame = frame.top_k(job["rows"], by="quality")
    elif query == "sample":  # a lazy frame has no sample
        frame = frame.filter(pl.int_range(pl.len()).shuffle(job["seed"]) < job["rows"])
    elif query == "semi-join":
        frame = frame.join(pl.scan_parquet(job["ids"]), on="id", how="semi")
    else:
        frame = frame.unique("caption", keep="any")
    return frame.select(TAKEN).collect(engine="streaming").to_arrow()


def duckdb(query: str, job: dict) -> Any:
    import duckdb as db

    taken, files = ", ".join(TAKEN), f"read_parquet({job['files']!r})"
    text = {
        "filter": f"SELECT {taken} FROM {files} WHERE quality < {job['below']}",
        "top": f"SELECT {taken} FROM {files} ORDER BY quality DESC LIMIT {job['rows']}",
        "sample": f"SELECT {taken} FROM {files} USING SAMPLE reservoir({job['rows']} ROWS) REPEATABLE ({job['seed']})",
        "semi-join": f"SELECT {taken} FROM {files} WHERE id IN (SELECT id FROM read_parquet({job['ids']!r}))",
        "dedup": f"SELECT DISTINCT ON (caption) {taken} FROM {files}",
    }[query]
    return db.connect().sql(text).to_arrow_table()


def daft(query: str, job: dict) -> Any:
    import daft as df  # pyright: ignore[reportMissingImports] - of the other interpreter

    frame = df.read_parquet(job["files"])
    if query == "filter":
        frame = frame.where(df.col("quality") < job["below"])
    elif query == "top":
        frame = frame.sort("quality", desc=True).limit(job["rows"])
    elif query == "sample":
        frame = frame.sample(size=job["rows"], seed=job["seed"])
    elif query == "semi-join":
        frame = frame.join(df.read_parquet(job["ids"]), on="id", how="semi")
    else:
        frame = frame.drop_duplicates("caption")
    return frame.select(*TAKEN).to_arrow()


def forget(files: list[str]) -> None:
    """Give the pages of files back, so that what is read next comes from the disk and is counted."""
    for name in files:
        fd = os.open(name, os.O_RDONLY)
        try:
            os.fdatasync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)


def counters() -> dict[str, int]:
    """Bytes that this process has read so far: by calls, and from the disk, by memory maps too."""
    with open("/proc/self/io", encoding="ascii") as file:
        return {name: int(value) for name, value in (line.split(": ") for line in file)}


def answer(job: dict) -> dict[str, Any]:
    run = TOOLS[sys.argv[1]]
    if job.get("cold"):
        forget(glob(job["files"]))
    before, started = counters(), time.perf_counter()
    table = run(job["query"], job)
    seconds, after = time.perf_counter() - started, counters()
    ids, images = table.column("id").to_pylist(), table.column("image")
    firsts = [int.from_bytes(image.as_buffer()[:8].to_pybytes(), "little") for image in images]
    return {
        "seconds": seconds,
        "calls": after["rchar"] - before["rchar"],
        "disk": after["read_bytes"] - before["read_bytes"],
        "rows": len(ids),
        "ids": sum(ids),
        "captions": len(set(table.column("caption").to_pylist())),
        "right": firsts == ids,
    }


TOOLS = {"robodf": robodf, "polars": polars, "duckdb": duckdb, "daft": daft}


def main() -> None:
    try:
        version = importlib.metadata.version(sys.argv[1])
    except importlib.metadata.PackageNotFoundError:  # a checkout that is not installed
        version = "of this checkout"
    print(json.dumps({"version": version}), flush=True)
    out = os.dup(1)  # libraries print what they like
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            found: dict[str, Any] = answer(json.loads(line))
        except Exception as error:  # noqa: BLE001 - told to the one who asked
            found = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
        os.write(out, (json.dumps(found) + "\n").encode())


if __name__ == "__main__":
    main()
