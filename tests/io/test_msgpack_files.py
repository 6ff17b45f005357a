"""MessagePack files as rows."""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
import pytest

import robodf as rd
from robodf.errors import FileFormatError, OptionError, RobodfError

msgpack = pytest.importorskip("msgpack")


def write(folder: Path, name: str, *objects: object, tail: bytes = b"") -> Path:
    (folder / name).write_bytes(b"".join(msgpack.packb(o, datetime=False) for o in objects) + tail)
    return folder / name


def test_maps_are_rows(tmp_path: Path) -> None:
    rows = [
        {"step": k, "q": [0.5, k], "raw": b"\0\xff", "nested": {"ok": True}, "t": msgpack.Timestamp(k, 7)}
        for k in range(2500)
    ]
    write(tmp_path, "a.msgpack", *rows)
    write(tmp_path, "b.msgpack", {"step": -1, "other": "x"})
    df = rd.read(tmp_path)
    found = df.collect()
    assert found.height == 2501
    assert found["step"].to_list() == [*range(2500), -1]
    assert found["q"].to_list()[:2] == [[0.5, 0.0], [0.5, 1.0]]
    assert found["raw"][3] == b"\0\xff"
    assert found.schema["t"] == pl.Datetime("ns")
    assert found["t"].dt.epoch("ns")[2] == 2_000_000_007
    assert df.head(3).select("step").collect()["step"].to_list() == [0, 1, 2]
    assert rd.sql(f"SELECT count(*) AS n FROM read_msgpack('{tmp_path}') WHERE step > 10").collect()["n"][0] == 2489


def test_lists_of_maps_give_a_row_each_and_others_a_value(tmp_path: Path) -> None:
    found = rd.read_msgpack(write(tmp_path, "a.msgpack", [{"x": 1}, {"x": 2}], {"x": 3, "path": "p"})).collect()
    assert found.select("x", "msgpack.path").rows() == [(1, None), (2, None), (3, "p")]
    assert rd.read_msgpack(write(tmp_path, "b.msgpack", 1, [1, 2])).collect()["value"].to_list() == ["1", "[1, 2]"]


def test_times_among_other_values_are_texts(tmp_path: Path) -> None:
    path = write(
        tmp_path, "a.msgpack", {"t": msgpack.Timestamp(-1, 7)}, {"t": "soon"}, {"t": [msgpack.Timestamp(0, 0)]}
    )
    found = rd.read_msgpack(path).collect()["t"].to_list()
    assert found == [
        '"1969-12-31T23:59:59.000000007+00:00"', "soon", '["1970-01-01T00:00:00.000000000+00:00"]',
    ]  # fmt: skip


def test_rows_that_do_not_fit_end_their_file(tmp_path: Path) -> None:
    write(tmp_path, "a.msgpack", *({"x": k} for k in range(3)), {"x": "no"}, {"x": 5})
    write(tmp_path, "b.msgpack", {"x": 9})
    with pytest.raises(FileFormatError, match=r"row 3: x: 'no' does not fit the type Int64"):
        rd.read_msgpack(tmp_path, sample=2).collect()
    df = rd.read_msgpack(tmp_path, sample=2, on_error="collect")
    assert df.collect()["x"].to_list() == [0, 1, 2, 9]
    assert "row 3" in df.errors["error"][0]
    assert rd.read_msgpack(tmp_path).collect()["x"].to_list() == ["0", "1", "2", "no", "5", "9"]
    with pytest.raises(OptionError, match="sample"):
        rd.read_msgpack(tmp_path, sample=0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x81\xa1x", "object 0 at byte 0 is cut off"),
        (b"\x01\xc1", "object 1 at byte 1 is no MessagePack"),
        (b"\xdd\xff\xff\xff\xff", "is cut off|is no MessagePack"),  # an array of four billion
        (b"\x91" * 5000, "is no MessagePack"),
        (b"\xa2\xff\xfe", "is no MessagePack"),
        (b"\x81\x91\x01\x01", "is no MessagePack"),  # a list as a key
        (b"\xd4\x05\x00", "ExtType has no column"),
    ],
)
def test_hostile_files_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.msgpack").write_bytes(data)
    with pytest.raises(FileFormatError, match=message):
        rd.read_msgpack(tmp_path / "a.msgpack").collect()


def test_files_of_other_tools(real_data: Path) -> None:
    folder = real_data / "msgpack"
    model = rd.read_msgpack(folder / "zkml_mnist_model.msgpack").collect()
    assert model.select("global_sf", "k", "use_selectors").rows() == [(512, 15, True)]
    given = rd.read_msgpack(folder / "zkml_train_input.msgpack").collect()
    expected = msgpack.unpackb((folder / "zkml_train_input.msgpack").read_bytes())
    assert given.select("idx", "shape", "data").to_dicts() == expected


def test_mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    draw = random.Random(6)
    whole = b"".join(msgpack.packb({"step": k, "q": [0.5, k], "name": "n" * k, "raw": b"ab"}) for k in range(20))
    outcomes = set()
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(draw.choice((1, 4))):
            data[draw.randrange(len(data))] = draw.randrange(256)
        (tmp_path / "a.msgpack").write_bytes(data[: draw.choice((len(data), draw.randrange(len(data))))])
        try:
            rd.read_msgpack(tmp_path / "a.msgpack").collect()
            outcomes.add("read")
        except RobodfError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}
