"""Files of records of one size."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import robodf as rd
from robodf.errors import FileFormatError, OptionError, SchemaError
from robodf.io import binary_files
from robodf.io.counting import read
from robodf.io.source import Request
from robodf.plan.nodes.scan import Scan

KIND = np.dtype(
    {
        "names": ["t", "q", "name", "flag", "half", "pose", "big"],
        "formats": ["<M8[ns]", ("<f4", (2, 3)), "S4", "?", "<f2", [("x", "<f8"), ("k", "i1")], ">u2"],
        "offsets": [8, 16, 40, 44, 46, 48, 62],
        "itemsize": 64,
    }
)


def records(count: int) -> np.ndarray:
    made = np.zeros(count, KIND)
    made["t"] = np.arange(count) * 1_000_000
    made["q"] = np.arange(count * 6).reshape(count, 2, 3)
    made["name"] = b"ab\0c"
    made["flag"] = np.arange(count) % 2
    made["half"] = 0.5
    made["pose"]["x"] = np.arange(count)
    made["pose"]["k"] = -1
    made["big"] = 258
    return made


def test_fields_of_every_kind_become_columns(tmp_path: Path) -> None:
    made = records(1000)
    (tmp_path / "a.bin").write_bytes(b"head" + made.tobytes())
    found = rd.read_binary(tmp_path / "a.bin", KIND, offset=4).collect()
    assert found["record"].to_list() == list(range(1000))
    assert found.schema["t"] == pl.Datetime("ns")
    assert found["t"].dt.epoch("ns").to_list() == made["t"].astype("i8").tolist()
    assert np.array_equal(found["q"].to_numpy(), made["q"])
    assert found["name"].to_list() == [b"ab\0c"] * 1000
    assert found["flag"].to_list() == made["flag"].tolist()
    assert found["half"].unique().to_list() == [0.5]
    assert found["pose"].struct.field("x").to_list() == made["pose"]["x"].tolist()
    assert found["pose"].struct.field("k").unique().to_list() == [-1]
    assert found["big"].unique().to_list() == [258]


def test_types_may_be_lists_dicts_and_single_numbers(tmp_path: Path) -> None:
    np.arange(6, dtype="<f4").tofile(tmp_path / "a.bin")
    assert rd.read_binary(tmp_path, "<f4").collect()["value"].to_list() == [0, 1, 2, 3, 4, 5]
    assert rd.read_binary(tmp_path, {"x": "<f4", "v": ("<f4", 2)}).collect()["v"].to_list() == [[1, 2], [4, 5]]
    found = rd.sql(f"SELECT sum(value) AS s FROM read_binary('{tmp_path}', dtype => '<f4')").collect()
    assert found["s"][0] == 15


@pytest.mark.parametrize(
    "format", ["<Qf3fb", ">hiq2d", "!B?c4sH", "@bqhd", "=bqhd", "<2x3B4xe", "b 0q", "@cnN", " <i2xi".strip()]
)
def test_formats_of_struct(tmp_path: Path, format: str) -> None:
    """As the standard library unpacks them, alignment and padding included."""
    given = struct.Struct(format)
    data = bytes((k * 37 + 1) % 100 for k in range(given.size * 9))  # no NaN among the numbers
    (tmp_path / "a.bin").write_bytes(data)
    df = rd.read_binary(tmp_path / "a.bin", given)
    found = df.collect().drop("path", "record")
    assert found.columns == [f"field_{k}" for k in range(found.width)]
    flat = [[v for value in row for v in (value if isinstance(value, list) else [value])] for row in found.rows()]
    assert flat == [list(row) for row in given.iter_unpack(data)]
    assert pickle.loads(pickle.dumps(df)).count_rows() == 9
    with pytest.raises(OptionError, match="no type that a column has"):
        rd.read_binary(tmp_path / "a.bin", struct.Struct("4p"))


def test_a_limit_and_parts_read_no_more_than_they_must(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(binary_files, "_PART", 4000)
    monkeypatch.setattr(binary_files, "_BLOCK", 1000)
    for k in range(2):
        (np.arange(2500, dtype="<i4") + 10_000 * k).tofile(tmp_path / f"{k}.bin")
    df = rd.read_binary(tmp_path, [("x", "<i4")])
    before = read.bytes
    assert df.head(3).collect()["x"].to_list() == [0, 1, 2]
    assert read.bytes - before == 12
    assert df.count_rows() == 5000
    assert read.bytes - before == 12
    (plan,) = [p for p in [df._plan] if isinstance(p, Scan)]
    splits = list(plan.source.splits(Request(("record", "x"))))
    assert [s.rows for s in splits] == [1000, 1000, 500] * 2
    part = pickle.loads(pickle.dumps(plan.source.part((splits[4], splits[0]))))
    found = part.scan(Request(("record", "x"))).collect()
    assert found["record"].to_list() == [*range(1000, 2000), *range(1000)]
    assert found["x"].to_list() == [*range(11_000, 12_000), *range(1000)]


def test_what_is_left_over_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(bytes(10))
    with pytest.raises(FileFormatError, match="2 are left"):
        rd.read_binary(tmp_path, "<u4")
    df = rd.read_binary(tmp_path, "<u4", on_error="collect")
    assert df.collect().height == 2
    assert df.errors["offset"].to_list() == [8]
    (tmp_path / "a.bin").write_bytes(bytes(3))
    with pytest.raises(FileFormatError, match="records of 4"):
        rd.read_binary(tmp_path, "<u4", offset=16)


@pytest.mark.parametrize(
    ("dtype", "error", "message"),
    [
        ("O", OptionError, "Python objects"),
        ([("path", "<u4")], OptionError, "cannot be called 'path'"),
        ("<c16", SchemaError, "complex128"),
        ("V0", OptionError, "a record of 0 bytes"),
        ("nonsense", OptionError, "no type of NumPy"),
        ([("t", "<M8[us]")], SchemaError, "which has no column"),
    ],
)
def test_types_without_columns_are_refused(tmp_path: Path, dtype: object, error: type, message: str) -> None:
    (tmp_path / "a.bin").write_bytes(bytes(16))
    with pytest.raises(error, match=message):
        rd.read_binary(tmp_path, dtype)
