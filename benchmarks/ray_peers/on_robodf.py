"""The queries in robodf: `engine="ray"`, or "local" for information."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import robodf as rd
from robodf import PipelineDataFrame

PACKAGES = ("robodf", "polars", "ray")
c = rd.col
_engine = "ray"


def setup(engine: str) -> None:
    global _engine
    _engine = engine
    rd.config(progress=False)


def group(job: dict[str, Any]) -> Any:
    return group_query(job["big"]).collect(engine=_engine)


def join(job: dict[str, Any]) -> Any:
    return join_query(job["big"], job["small"]).collect(engine=_engine)


def map(job: dict[str, Any]) -> None:
    map_query(job["logs"], job["from"], job["to"]).to_parquet(job["result"], engine=_engine)


def recordings(job: dict[str, Any]) -> Any:
    return recordings_query(job["logs"]).collect(engine=_engine)


def align(job: dict[str, Any]) -> None:
    align_query(job["logs"]).to_parquet(job["result"], engine=_engine)


# The hand-written tasks of on_core.py use the same, a file at a time.


def group_query(big: str) -> PipelineDataFrame:
    wanted = {"total": c("amount").sum(), "mean": c("value").mean(), "n": rd.len()}
    return rd.read_parquet(big).group_by("key").agg(**wanted)


def join_query(big: str, small: str) -> PipelineDataFrame:
    wanted = {"total": c("amount").sum(), "weighted": (c("value") * c("weight")).sum(), "n": rd.len()}
    return rd.read_parquet(big).join(rd.read_parquet(small), on="key").group_by("category").agg(**wanted)


def imu(logs: Any) -> PipelineDataFrame:
    push, turn = c("linear_acceleration").struct, c("angular_velocity").struct
    strength = (push.field("x") ** 2 + push.field("y") ** 2 + push.field("z") ** 2).sqrt()
    return rd.read_log(logs, "/imu").select(
        "recording", "log_time", strength=strength, az=push.field("z"), gz=turn.field("z")
    )


def map_query(logs: Any, start: int, end: int) -> PipelineDataFrame:
    first, last = (datetime.fromtimestamp(ns // 10**9, UTC).replace(tzinfo=None) for ns in (start, end))
    kept = imu(logs).filter(c("log_time") >= first, c("log_time") < last, c("strength") > 2.0)
    return kept.select("recording", "log_time", "strength", turn=c("gz") * (180 / math.pi))


def recordings_query(logs: Any) -> PipelineDataFrame:
    wanted = {"n": rd.len(), "mean": c("strength").mean(), "top": c("az").max(), "spread": c("gz").std()}
    return imu(logs).group_by("recording").agg(**wanted)


def align_query(logs: Any) -> PipelineDataFrame:
    joints = rd.read_log(logs, "/joints").select("recording", "log_time", elbow=c("position").list.get(3))
    streams = {"imu": imu(logs).select("recording", "log_time", "az"), "joints": joints}
    return rd.align(streams, "50hz", tolerance="20ms").drop("imu.age", "joints.age")
