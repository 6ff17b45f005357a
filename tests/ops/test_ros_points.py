"""Points out of cloud messages: against a loop of struct.unpack, and on layouts that lie."""

from __future__ import annotations

import math
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import robodf as rd
from robodf.errors import ColumnNotFoundError, OptionError, QueryError, SchemaError
from robodf.optimizer import optimize
from robodf.plan.base import tree
from robodf.ros.points import COLUMNS

CODES = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 8: "d"}
BITS = {"b": 1, "B": 1, "h": 2, "H": 2, "i": 4, "I": 4, "f": 4, "d": 8}
LIMITS = {
    pl.Int8: (-128, 127), pl.UInt8: (0, 255), pl.Int16: (-(2**15), 2**15 - 1), pl.UInt16: (0, 2**16 - 1),
    pl.Int32: (-(2**31), 2**31 - 1), pl.UInt32: (0, 2**32 - 1), pl.Int64: (-(2**63), 2**63 - 1),
    pl.UInt64: (0, 2**64 - 1),
}  # fmt: skip
SCHEMA = {
    "height": pl.UInt32,
    "width": pl.UInt32,
    "fields": pl.List(pl.Struct({"name": pl.String, "offset": pl.UInt32, "datatype": pl.UInt8, "count": pl.UInt32})),
    "is_bigendian": pl.Boolean,
    "point_step": pl.UInt32,
    "row_step": pl.UInt32,
    "data": pl.Binary,
    "is_dense": pl.Boolean,
}


def field(name: str, offset: int, datatype: int = 7, count: int = 1) -> dict[str, Any]:
    return {"name": name, "offset": offset, "datatype": datatype, "count": count}


XYZ = [field("x", 0), field("y", 4), field("z", 8)]


def cloud(data: bytes, *, fields: Any = XYZ, step: int = 12, **other: Any) -> dict[str, Any]:
    width = len(data) // step if step else 0
    message = {"height": 1, "width": width, "fields": fields, "is_bigendian": False, "point_step": step}
    return {**message, "row_step": len(data), "data": data, "is_dense": True, **other}


def frame(*messages: dict[str, Any]) -> rd.PipelineDataFrame:
    return rd.from_polars(pl.DataFrame(list(messages), schema=SCHEMA))


def read(run, *messages: dict[str, Any], **options: Any) -> list:
    return run(frame(*messages).select(rd.ros.points(**options)))["points"].to_list()


def converted(value: Any, dtype: Any) -> Any:
    if dtype in LIMITS:
        if not math.isfinite(value):
            return None
        low, high = LIMITS[dtype]
        return math.trunc(value) if low <= math.trunc(value) <= high else None
    with np.errstate(all="ignore"):
        return float(np.float32(value)) if dtype == pl.Float32 else float(value)


def naive(m: dict[str, Any], wanted: dict[str, Any]) -> list | None:
    """A loop over points, with Python's numbers, which do not overflow."""
    if any(m[name] is None for name in ("height", "width", "fields", "data")):
        return None
    h, w, step, data = m["height"], m["width"], m["point_step"], m["data"]
    if not h or not w:
        return []
    apart = m["row_step"] if h > 1 else 0
    if not step or (h > 1 and (apart is None or apart < w * step)) or (h - 1) * (apart or 0) + w * step > len(data):
        return None
    found = {}
    for name in wanted:
        f = next((f for f in m["fields"] if f is not None and f["name"] == name), None)
        if f is None:
            continue
        count = f["count"] or 1
        if f["datatype"] not in CODES or f["offset"] + BITS[CODES[f["datatype"]]] * count > step:
            return None
        found[name] = (f["offset"], (">" if m["is_bigendian"] else "<") + CODES[f["datatype"]], count)
    rows = []
    for row in range(h):
        for column in range(w):
            point, at = {}, row * (apart or 0) + column * step
            for name, dtype in wanted.items():
                many = isinstance(dtype, pl.Array)
                if name not in found or (many and found[name][2] != dtype.size):
                    point[name] = None
                    continue
                offset, code, _ = found[name]
                size = struct.calcsize(code)
                values = [
                    converted(struct.unpack_from(code, data, at + offset + i * size)[0], dtype.inner if many else dtype)
                    for i in range(dtype.size if many else 1)
                ]
                point[name] = (None if None in values else values) if many else values[0]
            rows.append(point)
    return rows


def same(found: Any, wanted: Any) -> None:
    assert repr(found) == repr(wanted)  # NaN is not equal to itself, but reads the same


def test_a_cloud_of_the_usual_kind(run) -> None:
    message = cloud(struct.pack("<6f", 1, 2, 3, 4, 5, float("nan")))
    want = [{"x": 1.0, "y": 2.0, "z": 3.0}, {"x": 4.0, "y": 5.0, "z": float("nan")}]
    same(read(run, message), [want])
    same(read(run, message, drop_nan=True), [want[:1]])
    same(read(run, message, fields=["y", "x"], drop_nan=True), [[{"y": 2.0, "x": 1.0}, {"y": 5.0, "x": 4.0}]])


def test_the_type_is_known_before_the_rows(run) -> None:
    wanted = {"x": pl.Float64, "ring": pl.UInt16, "normal": pl.Array(pl.Float32, 3)}
    made = frame(cloud(bytes(12))).select(rd.ros.points(wanted))
    assert made.schema == {"points": pl.List(pl.Struct(wanted))}
    assert run(made).schema == made.schema
    assert run(made.head(0)).schema == made.schema


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("datatype", CODES)
def test_each_type_in_both_byte_orders(run, datatype: int, big: bool) -> None:
    code = (">" if big else "<") + CODES[datatype]
    values = [1, 100, 0] if CODES[datatype] in "fdBHI" else [1, -100, 0]
    step = BITS[CODES[datatype]] + 3  # numbers that lie at odd addresses
    data = b"".join(b"\xff" + struct.pack(code, v) + b"\xff\xff" for v in values)
    message = cloud(data, fields=[field("v", 1, datatype)], step=step, is_bigendian=big)
    for dtype in (pl.Float32, pl.Float64, pl.Int8, pl.Int16, pl.Int64):
        wanted = [{"v": float(v) if dtype in (pl.Float32, pl.Float64) else v} for v in values]
        same(read(run, message, fields={"v": dtype}), [wanted])


def test_what_an_integer_cannot_hold_is_null(run) -> None:
    values = [1.9, -1.9, float("nan"), float("inf"), 70000.0, -1e300, 255.0]
    message = cloud(struct.pack("<7d", *values), fields=[field("v", 0, 8)], step=8)
    found = read(run, message, fields={"v": pl.UInt16})
    assert [p["v"] for p in found[0]] == [1, None, None, None, None, None, 255]
    found = read(run, message, fields={"v": pl.Float32})
    assert [p["v"] for p in found[0]][-2:] == [-math.inf, 255.0]


def test_organized_clouds_with_padding(run) -> None:
    rows = [struct.pack("<2f", 10 * r, 10 * r + 1) + b"\xee" * 5 for r in range(3)]
    message = cloud(b"".join(rows), fields=[field("x", 0)], step=4, height=3, width=2, row_step=13)
    assert [p["x"] for p in read(run, message, fields=["x"])[0]] == [0, 1, 10, 11, 20, 21]
    without_the_last_padding = message | {"data": message["data"][:-5]}
    assert [p["x"] for p in read(run, without_the_last_padding, fields=["x"])[0]] == [0, 1, 10, 11, 20, 21]
    assert read(run, message | {"data": message["data"][:-6]}, fields=["x"]) == [None]
    assert read(run, message | {"row_step": 7}, fields=["x"]) == [None]
    tight = cloud(struct.pack("<6f", *range(6)), fields=[field("x", 0)], step=4, height=3, width=2, row_step=8)
    assert [p["x"] for p in read(run, tight, fields=["x"])[0]] == [0, 1, 2, 3, 4, 5]


def test_one_row_does_not_ask_for_its_step(run) -> None:
    for row_step in (0, 1, 2**32 - 1, None):
        assert len(read(run, cloud(bytes(24), row_step=row_step))[0]) == 2


def test_fields_of_several_numbers(run) -> None:
    message = cloud(struct.pack("<8f", *range(8)), fields=[field("n", 4, 7, 3)], step=16)
    same(read(run, message, fields=["n"]), [[{"n": 1.0}, {"n": 5.0}]])
    same(read(run, message, fields={"n": pl.Array(pl.Float32, 3)}), [[{"n": [1.0, 2.0, 3.0]}, {"n": [5.0, 6.0, 7.0]}]])
    same(read(run, message, fields={"n": pl.Array(pl.Float32, 2)}), [[{"n": None}, {"n": None}]])
    old = cloud(bytes(8), fields=[field("n", 0, 7, 0)], step=8)  # PCL's way to say one
    same(read(run, old, fields=["n"]), [[{"n": 0.0}]])


def test_fields_that_a_cloud_does_not_have(run) -> None:
    with_ring = cloud(struct.pack("<fH", 1, 7) * 2, fields=[field("x", 0), field("ring", 4, 4)], step=6)
    without = cloud(struct.pack("<f", 2), fields=[field("x", 0)], step=4)
    found = read(run, with_ring, without, fields={"x": pl.Float32, "ring": pl.UInt16})
    same(found, [[{"x": 1.0, "ring": 7}] * 2, [{"x": 2.0, "ring": None}]])
    same(read(run, without, fields=["intensity"], drop_nan=True), [[{"intensity": None}]])


def test_of_two_fields_of_one_name_the_first(run) -> None:
    message = cloud(struct.pack("<2f", 1, 2), fields=[field("x", 4), field("x", 0)], step=8)
    same(read(run, message, fields=["x"]), [[{"x": 2.0}]])


def test_one_field_may_have_another_type_in_the_next_message(run) -> None:
    kinds = [(2, "<B", 200), (3, "<h", -3), (6, "<I", 2**32 - 1), (7, "<f", 1.5), (8, "<d", 1e300)]
    messages = [cloud(struct.pack(c, v), fields=[field("x", 0, k)], step=struct.calcsize(c)) for k, c, v in kinds]
    assert [m[0]["x"] for m in read(run, *messages, fields={"x": pl.Int16})] == [200, -3, None, 1, None]
    assert [m[0]["x"] for m in read(run, *messages, fields={"x": pl.Float64})] == [200, -3, 2**32 - 1, 1.5, 1e300]


HUGE = 2**32 - 1
LIES = {
    "a point longer than its step": {"fields": [field("x", 9), *XYZ[1:]]},
    "an offset that wraps around": {"fields": [field("x", HUGE), *XYZ[1:]]},
    "a count beyond the point": {"fields": [field("x", 0, 7, 4), *XYZ[1:]]},
    "a count that wraps around": {"fields": [field("x", 0, 8, HUGE), *XYZ[1:]]},
    "a type that is none": {"fields": [field("x", 0, 9), *XYZ[1:]]},
    "type zero": {"fields": [field("x", 0, 0), *XYZ[1:]]},
    "type 255": {"fields": [field("x", 0, 255), *XYZ[1:]]},
    "more points than bytes": {"width": 3},
    "more points than numbers": {"width": HUGE, "height": HUGE},
    "more rows than bytes": {"height": HUGE, "row_step": 24},
    "rows of nothing": {"height": HUGE, "row_step": 0},
    "points of nothing": {"point_step": 0},
    "a step as long as it gets": {"point_step": HUGE},
    "a row step as long as it gets": {"height": 2, "width": 1, "row_step": HUGE},
    "no bytes": {"data": b""},
    "no data": {"data": None},
    "no fields": {"fields": None},
    "no height": {"height": None},
    "no width": {"width": None},
    "no step": {"point_step": None},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_cloud_that_lies_is_null_and_harms_no_other(run, lie: str) -> None:
    good = cloud(struct.pack("<6f", *range(6)))
    found = read(run, good, good | LIES[lie], good)
    assert found[1] is None
    assert found[0] == found[2] == naive(good, dict.fromkeys("xyz", pl.Float32))


@pytest.mark.parametrize(
    "empty", [{"width": 0}, {"height": 0}, {"width": 0, "data": b"", "point_step": 0, "fields": []}]
)
def test_an_empty_cloud_is_empty(run, empty: dict) -> None:
    assert read(run, cloud(bytes(24)) | empty) == [[]]


def test_fields_that_nobody_asks_for_may_lie(run) -> None:
    message = cloud(bytes(12), fields=[*XYZ, field("rgb", 4000, 99, 7)])
    assert len(read(run, message)[0]) == 1


def near(rng: random.Random, usual: int) -> int:
    return rng.choice([usual, usual, usual, rng.randrange(2**32), rng.randrange(40), 0])


def random_cloud(rng: random.Random) -> dict[str, Any]:
    fields, at = [], 0
    for name in rng.sample(["x", "y", "z", "ring", "n", "é"], rng.randrange(1, 6)):
        kind, count = rng.randrange(1, 9), rng.choice([1, 1, 1, 2, 3, 0])
        at += rng.randrange(3)
        fields.append(field(name, at, kind, count))
        at += BITS[CODES[kind]] * max(count, 1)
    step = at + rng.randrange(4)
    h, w = rng.choice([1, 1, 2, 5]), rng.randrange(6)
    row_step = w * step + rng.choice([0, 0, 3])
    data = rng.randbytes(h * row_step)
    message = cloud(data, fields=fields, step=step, height=h, width=w, row_step=row_step)
    message["is_bigendian"] = rng.random() < 0.3
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        what = rng.choice(["height", "width", "point_step", "row_step", "data", "offset", "count", "datatype", "null"])
        if what == "data":
            message["data"] = data[: rng.randrange(len(data) + 1)]
        elif what == "null":
            message[rng.choice(["height", "width", "point_step", "row_step", "data", "fields", "is_bigendian"])] = None
        elif what in message:
            message[what] = near(rng, message[what])
        elif message["fields"]:
            target = rng.choice(message["fields"])
            target[what] = rng.randrange(256) if what == "datatype" else near(rng, target[what])
    return message


@pytest.mark.parametrize("seed", range(6))
def test_random_clouds_against_a_loop(run, seed: int) -> None:
    rng = random.Random(seed)
    messages = [random_cloud(rng) for _ in range(150)]
    for wanted in (
        dict.fromkeys("xyz", pl.Float32),
        {"x": pl.Float64, "ring": pl.UInt16, "z": pl.Int32, "é": pl.UInt64},
        {"n": pl.Array(pl.Float64, 2), "y": pl.Array(pl.Int8, 1)},
    ):
        expected = [naive(m, wanted) for m in messages]
        assert sum(e is None for e in expected) > 5
        assert sum(bool(e) for e in expected) > 40
        same(read(run, *messages, fields=wanted), expected)


def test_bytes_of_any_kind_never_raise(run) -> None:
    rng = random.Random(7)

    def number() -> int:
        return rng.choice([0, 1, 2, 3, 4, 8, 12, 16, 2**31, 2**32 - 1, rng.randrange(2**32)])

    messages = []
    for _ in range(3000):
        fields = [field(rng.choice("xyz"), number(), rng.randrange(12), number()) for _ in range(rng.randrange(5))]
        message = cloud(rng.randbytes(rng.randrange(100)), step=1, fields=fields)
        messages.append(message | {name: number() for name in ("height", "width", "point_step", "row_step")})
    wanted = {"x": pl.Float32, "y": pl.UInt8}
    same(read(run, *messages, fields=wanted), [naive(m, wanted) for m in messages])


def test_numbers_that_no_message_can_hold(run) -> None:
    """Columns that come from JSON are wider than those of ROS."""
    lie = [{"name": "x", "offset": 2**63 - 8, "datatype": 8, "count": 1}]
    wide = pl.DataFrame([cloud(bytes(12))] * 5, schema=SCHEMA).with_columns(
        pl.Series("height", [1, 2**63 - 1, -1, 2**62, 1]),
        pl.Series("point_step", [12.0, 12.0, 12.0, float("nan"), 1e300]),
        pl.Series("fields", [lie] * 5),
    )
    assert run(rd.from_polars(wide).select(rd.ros.points())).to_series().to_list() == [None] * 5


def test_in_a_query(run) -> None:
    messages = [cloud(struct.pack("<3f", i, 0, 0) * i) for i in range(4)]
    df = frame(*messages).with_row_index().with_columns(rd.ros.points(["x"]))
    made = df.sort("index", descending=True).filter(rd.col("points").list.len() > 1).select("index", "points")
    assert run(made).rows() == [(3, [{"x": 3.0}] * 3), (2, [{"x": 2.0}] * 2)]
    plan = tree(optimize(made._plan))
    assert plan.index("Sort") < plan.index("Filter")
    assert "row_step" not in run(made).columns


def test_of_a_struct_column(run) -> None:
    nested = frame(cloud(struct.pack("<3f", 1, 2, 3))).select(msg=rd.struct(*COLUMNS["ros"]))
    assert run(nested.select(rd.ros.points(cloud="msg")))["points"].to_list() == [[{"x": 1.0, "y": 2.0, "z": 3.0}]]


def test_many_small_chunks(run) -> None:
    one = pl.DataFrame([cloud(struct.pack("<3f", 1, 2, 3)), cloud(b"")], schema=SCHEMA)
    chunked = rd.from_polars(pl.concat([one] * 50, rechunk=False).slice(1, 97))
    found = run(chunked.select(rd.ros.points()))["points"].to_list()
    assert found == [[], [{"x": 1.0, "y": 2.0, "z": 3.0}]] * 48 + [[]]


def test_frame_of_points(run) -> None:
    messages = [cloud(struct.pack("<6f", *range(6))), cloud(b""), cloud(bytes(12), width=9)]
    df = frame(*messages).with_row_index("sequence")
    made = df.points({"x": pl.Float32, "z": pl.Float64})
    assert made.schema == {"sequence": df.schema["sequence"], "x": pl.Float32, "z": pl.Float64}
    assert run(made).rows() == [(0, 0.0, 2.0), (0, 3.0, 5.0), (2, None, None)]
    with pytest.raises(ColumnNotFoundError, match="takes a topic of clouds"):
        df.drop("row_step").points()
    with pytest.raises(SchemaError, match="two columns named 'sequence'"):
        df.points(["sequence"])
    with pytest.raises(QueryError, match="already"):
        df.with_columns(points=1).points()
    with pytest.raises(OptionError, match="layout is one of ros, foxglove"):
        df.points(layout="pcd")


@pytest.mark.parametrize(
    ("fields", "why"),
    [("xyz", r"write \['xyz'\]"), ([], "at least one"), ({"x": pl.String}, "not String"), ([1], "by text"),
     ({"x": pl.List(pl.Float32)}, "not List"), ({"x": pl.Array(pl.Float32, 0)}, "256"),
     ({"x": pl.Boolean}, "not Boolean"), ({"x": pl.Array(pl.Float32, 1000)}, "256")],
)  # fmt: skip
def test_wrong_fields(fields: Any, why: str) -> None:
    with pytest.raises(OptionError, match=why):
        rd.ros.points(fields)


def test_wrong_columns(run) -> None:
    df = frame(cloud(bytes(12)))
    for wrong in (df.with_columns(data=rd.lit("text")), df.with_columns(fields=rd.lit(1))):
        with pytest.raises((SchemaError, pl.exceptions.PolarsError), match="points: the column"):
            run(wrong.select(rd.ros.points()))


def test_foxglove(run) -> None:
    layout = [{"name": "x", "offset": 0, "type": 7}, {"name": "i", "offset": 4, "type": 1}]
    names = [{"name": "x", "offset": 0, "type": "FLOAT32"}, {"name": "i", "offset": 4, "type": "UINT8"}]
    data = struct.pack("<fB", 1, 200) + struct.pack("<fB", 2, 7)
    wanted = {"x": pl.Float32, "i": pl.UInt8}
    for fields in (layout, names):
        message = {"point_stride": 5, "fields": fields, "data": data}
        strides = [
            message,
            message | {"data": data[:-1]},
            message | {"data": b""},
            message | {"point_stride": 0},
            message | {"point_stride": 4},
        ]
        found = run(rd.from_polars(pl.DataFrame(strides)).select(rd.ros.points(wanted, layout="foxglove")))
        one, two = {"x": 1.0, "i": 200}, {"x": 2.0, "i": 7}
        assert found["points"].to_list() == [[one, two], [one], [], None, None]
    unknown = {"point_stride": 5, "fields": [{"name": "x", "offset": 0, "type": "FLOAT99"}], "data": data}
    assert run(rd.from_polars(pl.DataFrame([unknown])).select(rd.ros.points(layout="foxglove")))[
        "points"
    ].to_list() == [None]


def test_a_real_cloud_in_a_recording(run, real_data: Path) -> None:
    df = rd.read_mcap(real_data / "mcap/rerun_rosbag2_2025_09_10.mcap", "/point_cloud2")
    message = run(df).row(0, named=True)
    expected = naive(message, dict.fromkeys(["x", "y", "z", "intensity"], pl.Float32))
    assert len(expected) == 200
    made = df.points(["x", "y", "z", "intensity"])
    found = run(made)
    assert found.select("x", "y", "z", "intensity").to_dicts() == expected
    assert found["header_stamp"].unique().to_list() == [message["header_stamp"]]


def test_a_real_lidar_message(run, real_data: Path) -> None:
    from rosbags.typesys import Stores, get_typestore

    from robodf.io.messages import Payloads, decoder_for

    text, _ = get_typestore(Stores.LATEST).generate_msgdef("sensor_msgs/msg/PointCloud2")
    decoder = decoder_for("cdr", "ros2msg", "sensor_msgs/msg/PointCloud2", text.encode())
    problems: list = []
    payload = (real_data / "binary/cloudini_dds_pointcloud2_cdr.bin").read_bytes()
    decoded = decoder.decode(Payloads.of([payload]), None, decoder.schema, problems)
    assert not problems
    wanted = {"x": pl.Float32, "ring": pl.UInt16, "timestamp": pl.Float64}
    found = run(rd.from_polars(decoded).select(rd.ros.points(wanted)))["points"][0].struct.unnest()
    dtype = np.dtype({"names": list(wanted), "formats": ["<f4", "<u2", "<f8"], "offsets": [0, 16, 18], "itemsize": 26})
    points = np.frombuffer(decoded["data"][0], dtype)
    assert len(found) == len(points) == 64000
    for name in wanted:
        np.testing.assert_array_equal(found[name].to_numpy(), points[name])
