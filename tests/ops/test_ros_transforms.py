"""One row for each transform."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import robodf as rd
from robodf.errors import QueryError, SchemaError
from robodf.optimizer import optimize
from robodf.plan.base import tree

XYZ = pl.Struct(dict.fromkeys("xyz", pl.Float64))
XYZW = pl.Struct(dict.fromkeys("xyzw", pl.Float64))
NS = pl.Datetime("ns")
STAMPED = pl.Struct(
    {
        "header": pl.Struct({"stamp": NS, "frame_id": pl.String}),
        "child_frame_id": pl.String,
        "transform": pl.Struct({"translation": XYZ, "rotation": XYZW}),
    }
)
META = {"log_time": NS, "sequence": pl.UInt32, "header_stamp": NS}
TABLE = {**META, "parent": pl.String, "child": pl.String, "translation": XYZ, "rotation": XYZW}


def at(second: int) -> datetime:
    return datetime(2026, 1, 1, 0, 0, second)


def stamped(second: int, parent: str, child: str, x: float) -> dict[str, Any]:
    translation, rotation = {"x": x, "y": 0.0, "z": 0.0}, {"x": 0.0, "y": 0.0, "z": 0.0, "w": 1.0}
    transform = {"translation": translation, "rotation": rotation}
    return {"header": {"stamp": at(second), "frame_id": parent}, "child_frame_id": child, "transform": transform}


@pytest.fixture
def tf() -> rd.PipelineDataFrame:
    messages = [
        [stamped(1, "map", "odom", 1.0), stamped(2, "odom", "base", 2.0)],
        [],
        None,
        [stamped(3, "map", "é", 3.0)],
    ]
    frame = pl.DataFrame(
        {
            "log_time": [at(10 + i) for i in range(4)],
            "sequence": range(4),
            "header_stamp": [None] * 4,
            "transforms": messages,
        },
        schema={**META, "transforms": pl.List(STAMPED)},
    )
    return rd.from_polars(frame)


def test_each_transform_is_a_row(run, tf) -> None:
    made = tf.transforms()
    assert made.schema == TABLE
    found = run(made)
    assert found.schema == made.schema
    assert found.select("sequence", "header_stamp", "parent", "child").rows() == [
        (0, at(1), "map", "odom"),
        (0, at(2), "odom", "base"),
        (2, None, None, None),
        (3, at(3), "map", "é"),
    ]
    assert found["translation"].struct.field("x").to_list() == [1.0, 2.0, None, 3.0]
    assert found["rotation"][0] == {"x": 0.0, "y": 0.0, "z": 0.0, "w": 1.0}
    assert run(tf.head(0).transforms()).schema == made.schema


def test_filters_on_the_message_go_below(run, tf) -> None:
    made = tf.transforms().filter((rd.col("sequence") == 0) & (rd.col("child") == "base"))
    assert run(made)["header_stamp"].to_list() == [at(2)]
    plan = tree(optimize(made._plan))
    assert plan.index("Explode") < plan.index('col("sequence") == 0')


def test_with_an_orientation_in_degrees(run, tf) -> None:
    made = tf.transforms().select("child", yaw=rd.ros.euler("rotation", degrees=True).struct.field("yaw"))
    assert run(made).rows() == [("odom", 0.0), ("base", 0.0), (None, None), ("é", 0.0)]


def test_one_transform_in_each_message(run, tf) -> None:
    one = tf.explode("transforms").unnest("transforms").filter(rd.col("child_frame_id").is_not_null())
    made = one.transforms()
    assert made.schema == TABLE
    assert run(made).select("header_stamp", "parent").rows() == [(at(1), "map"), (at(2), "odom"), (at(3), "map")]


@pytest.mark.parametrize("listed", [True, False])
def test_foxglove(run, listed: bool) -> None:
    one = {
        "timestamp": at(5),
        "parent_frame_id": "world",
        "child_frame_id": "robot",
        "translation": {"x": 1.0, "y": 2.0, "z": 3.0},
        "rotation": {"x": 0.0, "y": 0.0, "z": 0.0, "w": 1.0},
    }
    df = rd.from_polars(
        pl.DataFrame({"log_time": [at(6)], **({"transforms": [[one]]} if listed else {k: [v] for k, v in one.items()})})
    )
    found = run(df.transforms())
    assert found.columns == ["log_time", "header_stamp", "parent", "child", "translation", "rotation"]
    assert found.row(0) == (at(6), at(5), "world", "robot", one["translation"], one["rotation"])


def test_what_is_refused(tf) -> None:
    with pytest.raises(SchemaError, match="takes a topic of tf2_msgs/TFMessage"):
        tf.drop("transforms").transforms()
    with pytest.raises(SchemaError, match="columns log_time, sequence, header_stamp, transforms"):
        tf.with_columns(transforms=1).transforms()
    with pytest.raises(QueryError, match="column 'parent' already"):
        tf.with_columns(parent=1).transforms()


def test_a_real_recording(run, real_data: Path) -> None:
    """A simulator of two turtles: each transform is the pose that the turtle published."""
    bag = real_data / "bag/example.bag"
    made = rd.read_rosbag(bag, "/tf").transforms().filter(rd.col("child") == "turtle1")
    turns = run(made.select("parent", "header_stamp", rd.ros.euler("rotation"), "translation"))
    assert turns["parent"].unique().to_list() == ["world"]
    assert turns["header_stamp"].null_count() == 0
    poses = run(rd.read_rosbag(bag, "/turtle1/pose").select("x", "y", "theta"))
    assert len(turns) == len(poses) == 1344
    found = turns.select(
        pl.col("translation").struct.field("x", "y"), theta=pl.col("euler").struct.field("yaw").cast(pl.Float32)
    )
    for name in ("x", "y"):
        assert (found[name] - poses[name]).abs().max() < 1e-6
    assert all(abs(math.remainder(t, 2 * math.pi)) < 1e-5 for t in found["theta"] - poses["theta"])
