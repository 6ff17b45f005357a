"""The queries by hand on Ray Core: tasks that run Polars, a hash exchange of their own through the object store.

What somebody who knows both would write for these queries and no others: no size estimates, no progress, no
backpressure. Logs are read by robodf's local engine, a task a file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import ray

from benchmarks.ray_peers import on_robodf

PACKAGES = ("ray", "polars", "pyarrow")
BUCKETS = 8
c = pl.col
_broadcast = False
_polars_in_tasks = False


def setup(broadcast: bool = False, polars_in_tasks: bool = False) -> None:
    global _broadcast, _polars_in_tasks
    _broadcast, _polars_in_tasks = broadcast, polars_in_tasks


# -- tables -----------------------------------------------------------------------------------------------------


def _files(folder: str) -> list[str]:
    return sorted(str(path) for path in Path(folder).glob("*.parquet"))


def _buckets(frame: pl.DataFrame) -> list[pa.Table]:
    """The rows by hash of the key, as Arrow: Ray moves its buffers without a copy."""
    parts = frame.with_columns(_b=c("key").hash() % BUCKETS).partition_by("_b", as_dict=True, include_key=False)
    empty = frame.clear()
    return [parts.get((number,), empty).to_arrow() for number in range(BUCKETS)]


def _together(parts: tuple[pa.Table, ...]) -> pl.LazyFrame:
    return pl.concat([pl.from_arrow(part, rechunk=False) for part in parts]).lazy()  # type: ignore[type-var]


@ray.remote(num_returns=BUCKETS)
def _partial_groups(path: str) -> list[pa.Table]:
    sums = {"total": c("amount").sum(), "sum": c("value").sum(), "n": pl.len()}
    return _buckets(pl.scan_parquet(path).group_by("key").agg(**sums).collect(engine="streaming"))


@ray.remote
def _final_groups(*parts: pa.Table) -> pa.Table:
    summed = _together(parts).group_by("key").agg(c("total", "sum", "n").sum())
    return summed.select("key", "total", mean=c("sum") / c("n"), n="n").collect(engine="streaming").to_arrow()


def group(job: dict[str, Any]) -> Any:
    sent = [_partial_groups.remote(path) for path in _files(job["big"])]
    return pa.concat_tables(ray.get([_final_groups.remote(*bucket) for bucket in zip(*sent)]))


def _by_category(rows: pl.LazyFrame) -> pl.DataFrame:
    weighted = (c("value") * c("weight")).sum()
    wanted = {"total": c("amount").sum(), "weighted": weighted, "n": pl.len()}
    return rows.group_by("category").agg(**wanted).collect(engine="streaming")


@ray.remote(num_returns=BUCKETS)
def _split(path: str, columns: list[str]) -> list[pa.Table]:
    return _buckets(pl.scan_parquet(path).select(columns).collect(engine="streaming"))


@ray.remote
def _join_bucket(lefts: int, *parts: pa.Table) -> pa.Table:
    return _by_category(_together(parts[:lefts]).join(_together(parts[lefts:]), on="key")).to_arrow()


@ray.remote
def _join_small(path: str, small: pa.Table) -> pa.Table:
    rows = pl.scan_parquet(path).select("key", "amount", "value")
    return _by_category(rows.join(_together((small,)), on="key")).to_arrow()


def join(job: dict[str, Any]) -> Any:
    if _broadcast:
        small = ray.put(pl.read_parquet(f"{job['small']}/*.parquet").to_arrow())
        joined = [_join_small.remote(path, small) for path in _files(job["big"])]
    else:
        left = [_split.remote(path, ["key", "amount", "value"]) for path in _files(job["big"])]
        right = [_split.remote(path, ["key", "category", "weight"]) for path in _files(job["small"])]
        joined = [_join_bucket.remote(len(left), *a, *b) for a, b in zip(zip(*left), zip(*right))]
    summed = _together(tuple(ray.get(joined))).group_by("category").agg(c("total", "weighted", "n").sum())
    return summed.collect(engine="streaming")


# -- logs -------------------------------------------------------------------------------------------------------


@ray.remote
def _map(path: str, start: int, end: int, out: str, polars: bool) -> None:
    target = os.path.join(out, Path(path).stem + ".parquet")
    if not polars:
        on_robodf.map_query(path, start, end).to_parquet(target, engine="local")
        return
    push, time = c("linear_acceleration").struct, c("log_time").cast(pl.Int64)
    strength = (push.field("x") ** 2 + push.field("y") ** 2 + push.field("z") ** 2).sqrt()
    rows = on_robodf.rd.read_log(path, "/imu").collect(engine="local").lazy()
    kept = rows.filter(time >= start, time < end).with_columns(strength=strength).filter(c("strength") > 2.0)
    turn = c("angular_velocity").struct.field("z") * (180 / 3.141592653589793)
    kept.select("recording", "log_time", "strength", turn=turn).sink_parquet(target)


def map(job: dict[str, Any]) -> None:
    out = job["result"]
    os.makedirs(out)
    ray.get([_map.remote(path, job["from"], job["to"], out, _polars_in_tasks) for path in job["logs"]])


@ray.remote
def _recordings(path: str) -> pa.Table:
    return on_robodf.recordings_query(path).collect(engine="local").to_arrow()


def recordings(job: dict[str, Any]) -> Any:
    return pa.concat_tables(ray.get([_recordings.remote(path) for path in job["logs"]]))


@ray.remote
def _align(path: str, out: str) -> None:
    on_robodf.align_query(path).to_parquet(os.path.join(out, Path(path).stem + ".parquet"), engine="local")


def align(job: dict[str, Any]) -> None:
    os.makedirs(job["result"])
    ray.get([_align.remote(path, job["result"]) for path in job["logs"]])
