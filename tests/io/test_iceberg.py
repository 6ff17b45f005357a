"""Iceberg tables that pyiceberg writes: what is read of them, by which files were opened, and what is refused."""

import json
import os
import pickle
from datetime import date, datetime, timezone
from pathlib import Path

import polars as pl
import pytest

import robodf as rd
from robodf import col
from robodf.errors import FileFormatError, NoFilesError, OptionError
from robodf.io.iceberg import iceberg_files
from tests.io.splitting import check

pytest.importorskip("pyiceberg", reason="pyiceberg is not installed")
pytest.importorskip("sqlalchemy", reason="sqlalchemy, of pyiceberg's catalog, is not installed")

from tests.io.iceberg_tables import catalog, closed, folder, rows, table_of


@pytest.fixture
def made(tmp_path):
    """Makes tables in a catalog of its own."""
    with catalog(tmp_path) as found:
        yield lambda *frames, **options: table_of(found, *frames, **options)


def test_a_table_by_its_folder_its_metadata_and_as_pyiceberg_has_it(made):
    table = made(pl.DataFrame({"x": [1, 2]}), pl.DataFrame({"x": [3]}))
    for told in (folder(table), Path(folder(table)), table.metadata_location, table, f"file://{folder(table)}"):
        df = rd.read_iceberg(told)
        assert df.collect()["x"].to_list() == [1, 2, 3]
        assert df.count_rows() == 3
    assert f"iceberg {folder(table)} snapshot" in rd.read_iceberg(folder(table)).explain()


def test_read_and_sql_know_it(made):
    table = made(pl.DataFrame({"x": [1, 2], "y": ["a", "b"]}))
    assert rd.read(folder(table)).count_rows() == 2
    found = rd.sql(f"SELECT y FROM read_iceberg('{folder(table)}') WHERE x = 2").collect()
    assert found["y"].to_list() == ["b"]


def test_a_count_opens_no_file(made):
    table = made(pl.DataFrame({"x": [1, 2]}), pl.DataFrame({"x": [3]}))
    df = rd.read_iceberg(folder(table))
    with closed(table):
        assert df.count_rows() == 3
        with pytest.raises((FileFormatError, pl.exceptions.PolarsError)):
            df.collect()


def test_types(made):
    frame = pl.DataFrame({
        "b": [True, None],
        "i": pl.Series([1, None], dtype=pl.Int32),
        "l": [2**40, None],
        "f": pl.Series([1.5, None], dtype=pl.Float32),
        "d": [2.5, None],
        "day": [date(2026, 1, 31), None],
        "at": pl.Series([datetime(2026, 1, 1, 5, 0, 0, 123456), None], dtype=pl.Datetime("us")),
        "utc": pl.Series([datetime(2026, 1, 1, 5), None], dtype=pl.Datetime("us", "UTC")),
        "s": ["é", None],
        "raw": [b"\0\1", None],
        "dec": pl.Series(["1.25", None]).cast(pl.Decimal(10, 2)),
        "list": [[1, None], None],
        "struct": [{"a": 1, "b": "x"}, None],
    })  # fmt: skip
    table = made(frame)
    df = rd.read_iceberg(table)
    assert df.schema == dict(frame.schema)
    assert df.collect().equals(frame)


def test_columns_are_found_by_their_ids(made):
    table = made(pl.DataFrame({"a": [1], "b": [10], "c": [100], "s": [{"u": 1, "v": 2}], "n": [[{"p": 5}]]}))
    with table.update_schema() as change:
        change.rename_column("a", "x").rename_column("b", "a").delete_column("c")
        change.rename_column("s.u", "w").rename_column("n.p", "q")
    with table.update_schema() as change:
        from pyiceberg.types import StringType

        change.add_column("c", StringType())
        change.add_column(("s", "u"), StringType())
    later = pl.DataFrame({
        "x": [2], "a": [20], "s": [{"w": 3, "v": 4, "u": "k"}], "n": [[{"q": 6}, None]], "c": ["new"]
    })  # fmt: skip
    table.append(later.to_arrow())
    df = rd.read_iceberg(table)
    assert df.collect().rows() == [
        (1, 10, {"w": 1, "v": 2, "u": None}, [{"q": 5}], None),
        (2, 20, {"w": 3, "v": 4, "u": "k"}, [{"q": 6}, None], "new"),
    ]
    assert df.filter(col("a") == 10).collect()["x"].to_list() == [1]
    assert df.filter(col("c").is_null()).collect()["x"].to_list() == [1]
    assert df.filter(col("x") > 1).select("a").collect()["a"].to_list() == [20]
    assert df.count_rows() == 2
    old = table.history()[0].snapshot_id
    assert rd.read_iceberg(table, snapshot_id=old).columns == ["a", "b", "c", "s", "n"]
    assert rd.read_iceberg(table, old).collect()["b"].to_list() == [10]


def test_a_file_that_holds_no_column_of_the_table_still_has_its_rows(made):
    table = made(pl.DataFrame({"a": [1, 2, 3]}))
    with table.update_schema() as change:
        from pyiceberg.types import LongType

        change.add_column("b", LongType()).delete_column("a")
    df = rd.read_iceberg(table)
    assert df.collect().rows() == [(None,)] * 3
    assert df.filter(col("b").is_null()).count_rows() == 3
    assert df.with_columns(k=1).select("k").collect().height == 3


def test_a_null_struct_stays_null_where_a_field_was_renamed(made):
    frame = pl.DataFrame({"s": [{"u": 1}, None, {"u": None}]})
    table = made(frame)
    with table.update_schema() as change:
        change.rename_column("s.u", "w")
    assert rd.read_iceberg(table).collect()["s"].to_list() == [{"w": 1}, None, {"w": None}]


def test_widened_columns(made):
    from pyiceberg.types import DecimalType, DoubleType, LongType

    narrow = pl.DataFrame({"i": [1, -5], "f": [0.5, -0.1], "d": ["1.25", "-3.50"]}).with_columns(
        pl.col("i").cast(pl.Int32), pl.col("f").cast(pl.Float32), pl.col("d").cast(pl.Decimal(5, 2))
    )
    table = made(narrow)
    with table.update_schema() as change:
        change.update_column("i", LongType()).update_column("f", DoubleType()).update_column("d", DecimalType(20, 2))
    wide = pl.DataFrame({"i": [2**40], "f": [0.1], "d": ["123456789.25"]}).with_columns(
        pl.col("d").cast(pl.Decimal(20, 2))
    )
    table.append(wide.to_arrow())
    df = rd.read_iceberg(table)
    expected = pl.concat([narrow.cast(wide.schema), wide])
    assert df.collect().equals(expected)
    for predicate in (col("i") > 1, col("i") == -5, col("f") < 0, col("f") == 0.5):
        assert df.filter(predicate).collect().equals(expected.filter(predicate.polars))
    with closed(table, 0):
        assert df.filter(col("i") > 100).collect()["i"].to_list() == [2**40]


@pytest.mark.parametrize(
    ("transform", "column"),
    [("identity", "k"), ("bucket[4]", "k"), ("truncate[2]", "k"), ("day", "at"), ("hour", "at"), ("month", "at")],
)
def test_partitions(made, transform, column):
    if transform != "identity":
        pytest.importorskip("pyiceberg_core", reason="pyiceberg-core is not installed: pyiceberg partitions by it")
    at = [datetime(1969, 12, 31, 23, 59, 59, 999999), datetime(1970, 1, 1), datetime(2026, 2, 28, 13), None]
    frame = pl.DataFrame({"k": [1, -7, 3, None], "at": pl.Series(at, dtype=pl.Datetime("us")), "n": [0, 1, 2, 3]})
    table = made(frame, partition=(column, transform), properties={"write.metadata.metrics.default": "none"})
    df = rd.read_iceberg(table)
    assert rows(df) == sorted(frame.rows(), key=str)
    for predicate in (
        col("k") == -7, col("k") > 0, col("k").is_null(), col("k") != 1, col("at") < datetime(1970, 1, 1),
        col("at") >= datetime(2026, 2, 28), col("at") == datetime(1970, 1, 1), col("at").is_null(),
    ):  # fmt: skip
        assert rows(df.filter(predicate)) == sorted(frame.filter(predicate.polars).rows(), key=str)


def test_a_partition_by_the_day_leaves_out_files(made):
    pytest.importorskip("pyiceberg_core", reason="pyiceberg-core is not installed: pyiceberg partitions by it")
    days = [datetime(2026, 1, day, 12) for day in (1, 2, 3)]
    frame = pl.DataFrame({"at": pl.Series(days, dtype=pl.Datetime("us")), "n": [1, 2, 3]})
    table = made(frame, partition=("at", "day"), properties={"write.metadata.metrics.default": "none"})
    df = rd.read_iceberg(table).filter(col("at") >= datetime(2026, 1, 3))
    with closed(table, 0, 1):
        assert df.collect()["n"].to_list() == [3]
    assert "1 of 3 files by at" in df.explain()


def test_values_of_partitions_are_read_where_files_lack_them(made):
    table = made(pl.DataFrame({"k": ["a", "b"], "n": [1, 2]}), partition=("k", "identity"))
    for path in Path(folder(table)).rglob("*.parquet"):  # as of files that came from a table of Hive
        without_column(path, "k")
    assert rows(rd.read_iceberg(table)) == [("a", 1), ("b", 2)]
    assert rd.read_iceberg(table).filter(col("k") == "b").select("k").collect()["k"].to_list() == ["b"]


def without_column(path, name):
    import pyarrow.parquet as pq

    found = pq.read_table(path)
    pq.write_table(found.drop_columns([name]), path)


def test_files_without_ids(made, tmp_path):
    table = made(pl.DataFrame({"a": [1], "s": [{"u": 1}]}))
    other = tmp_path / "other.parquet"
    pl.DataFrame({"s": [{"u": 2}], "a": [2]}).write_parquet(other)
    table.add_files([str(other)])
    assert rows(rd.read_iceberg(table)) == [(1, {"u": 1}), (2, {"u": 2})]
    with table.update_schema() as change:
        change.rename_column("a", "b")
    assert rows(rd.read_iceberg(table)) == [(1, {"u": 1}), (2, {"u": 2})]
    with table.transaction() as change:
        change.remove_properties("schema.name-mapping.default")
    with pytest.raises(FileFormatError, match="no ids.*schema.name-mapping.default"):
        rd.read_iceberg(table).collect()


def test_time_travel(made):
    table = made(pl.DataFrame({"x": [1]}), pl.DataFrame({"x": [2]}), pl.DataFrame({"x": [3]}))
    history = table.history()
    path = Path(table.metadata_location.removeprefix("file://"))
    told = json.loads(path.read_text())
    for k, entry in enumerate(told["snapshot-log"]):
        entry["timestamp-ms"] = 1_700_000_000_000 + k * 1000
    told["refs"]["tagged"] = {"snapshot-id": history[0].snapshot_id, "type": "tag"}
    path.write_text(json.dumps(told))

    def found(*args, **options):
        return rd.read_iceberg(path, *args, **options).collect()["x"].to_list()

    middle = datetime.fromtimestamp(1_700_000_001.5, timezone.utc)
    for version in (middle, middle.replace(tzinfo=None), middle.isoformat(), history[1].snapshot_id):
        assert found(version) == [1, 2]
    assert found(snapshot_id=history[0].snapshot_id) == [1]
    assert found("tagged") == [1]
    assert found("main") == found("2100-01-01") == [1, 2, 3]
    for version, message in [
        ("2001-01-01", "no snapshot as of 2001-01-01: the first of 3 is of 2023-11-14"),
        (7, "no snapshot 7. There are"),
        ("taged", "no time, branch or tag.*tagged"), (True, "version is"), (1.5, "version is"),
    ]:  # fmt: skip
        with pytest.raises(OptionError, match=message):
            found(version)
    with pytest.raises(OptionError, match="pass one"):
        found(7, snapshot_id=7)


def test_overwritten_and_deleted_rows_are_not_read(made):
    table = made(pl.DataFrame({"x": [1, 2, 3]}), pl.DataFrame({"x": [4]}))
    table.delete("x = 2")
    table.delete("x = 4")
    assert rows(rd.read_iceberg(table)) == [(1,), (3,)]
    assert rd.read_iceberg(table).count_rows() == 2


def test_a_table_without_a_snapshot(made):
    table = made(schema=pl.DataFrame({"x": [1], "y": ["a"]}).to_arrow().schema)
    df = rd.read_iceberg(table)
    assert df.collect().schema == {"x": pl.Int64, "y": pl.String}
    assert df.filter(col("x") > 1).count_rows() == df.count_rows() == 0


def test_filters_leave_out_files_by_bounds_and_nulls(made):
    parts = [
        pl.DataFrame(
            {"x": [1, 2], "s": ["a" * 50, "b"], "f": [0.5, 1.5], "n": [None, None]}, schema_overrides={"n": pl.Int64}
        ),
        pl.DataFrame({"x": [10, None], "s": ["c", "d" * 50], "f": [float("nan"), 2.5], "n": [1, 2]}),
    ]
    table = made(*parts)
    everything = pl.concat(parts)
    df = rd.read_iceberg(table)
    for predicate in (
        col("x") > 2, col("x") == 10, col("x").is_null(), col("n").is_not_null(), col("n") > 0, col("x").is_in([9, 10]),
        col("s") > "b", col("s").str.starts_with("dd"), (col("x") > 5) | (col("f") < 0), col("f") == 2.5,
    ):  # fmt: skip
        with closed(table, 0):
            found = df.filter(predicate).collect()
        assert found.equals(everything.filter(predicate.polars)), predicate
        assert found.height
        assert "1 of 2 files by" in df.filter(predicate).explain()
    with closed(table, 1):
        assert df.filter(col("x") < 3).collect().height == 2
        assert df.filter((col("x") < 3) & col("n").is_null()).count_rows() == 2
    assert df.filter(col("x") > 1000).collect().height == 0


def test_what_is_left_of_a_file_with_NaN(made):
    table = made(pl.DataFrame({"f": [float("nan"), 1.0]}), pl.DataFrame({"f": [1.0, 2.0]}))
    df = rd.read_iceberg(table)
    assert str(df.filter(col("f") > 5).collect()["f"].to_list()) == "[nan]"
    assert df.filter(col("f") != 1.0).collect().height == 2


def test_parts(made):
    table = made(pl.DataFrame({"d": [0, 1]}), pl.DataFrame({"d": [2]}))
    with table.update_schema() as change:
        change.rename_column("d", "e")
    source = pickle.loads(pickle.dumps(iceberg_files(table)))
    assert source == iceberg_files(table)
    check(rd.read_iceberg(table), 2)
    check(rd.read_iceberg(table).filter(col("e") > 1), 1)


def test_a_heavy_column_that_was_renamed_is_fetched_late(made):
    import numpy as np

    random = np.random.default_rng(0)
    properties = {"write.parquet.page-size-bytes": str(64 << 10), "write.parquet.compression-codec": "uncompressed",
                  "write.parquet.dict-size-bytes": "1"}  # fmt: skip
    frames = [
        pl.DataFrame({"n": range(k, k + 400), "raw": [random.bytes(50_000) for _ in range(400)]}) for k in (0, 400)
    ]
    table = made(frames[0], properties=properties)
    with table.update_schema() as change:
        change.rename_column("raw", "image")
    table.append(frames[1].rename({"raw": "image"}).to_arrow())
    table.delete("n = 798")
    df = rd.read_iceberg(table)
    expected = dict(pl.concat(frames).rows())
    query = df.sort("n").tail(3)
    assert "fetched late" in query.explain("physical")
    assert query.collect().rows() == [(n, expected[n]) for n in (796, 797, 799)]
    some = df.filter(col("n").is_in([7, 601])).sort("n", descending=True)
    assert some.collect().rows() == [(n, expected[n]) for n in (601, 7)]


def test_the_newest_metadata_of_a_folder(made):
    table = made(pl.DataFrame({"x": [1]}))
    before = table.metadata_location
    table.append(pl.DataFrame({"x": [2]}).to_arrow())
    where = Path(folder(table), "metadata")
    assert rd.read_iceberg(folder(table)).count_rows() == 2
    (where / "version-hint.text").write_text(Path(before).name)
    assert rd.read_iceberg(folder(table)).count_rows() == 1
    (where / "version-hint.text").write_text("1")  # a hint may be older than the newest
    assert rd.read_iceberg(folder(table)).count_rows() == 2
    newest = Path(table.metadata_location.removeprefix("file://"))
    (where / f"{newest.name.split('-')[0]}-other.metadata.json").write_text(newest.read_text())
    with pytest.raises(FileFormatError, match="several files.*newest version.*catalog"):
        rd.read_iceberg(folder(table))
    (where / "version-hint.text").write_text("900")
    with pytest.raises(NoFilesError, match="says version 900"):
        rd.read_iceberg(folder(table))


def test_a_table_that_was_moved(made, tmp_path):
    table = made(pl.DataFrame({"x": [1]}))
    moved = tmp_path / "moved"
    os.rename(folder(table), moved)
    assert rd.read_iceberg(moved, moved=True).collect()["x"].to_list() == [1]
    with pytest.raises(NoFilesError, match="moved=True"):
        rd.read_iceberg(moved)


def test_no_table(tmp_path):
    with pytest.raises(NoFilesError, match="no Iceberg table"):
        rd.read_iceberg(tmp_path / "none")
    Path(tmp_path, "metadata").mkdir()
    with pytest.raises(NoFilesError, match="no Iceberg table"):
        rd.read_iceberg(tmp_path)
    with pytest.raises(OptionError, match="one table"):
        rd.read_iceberg([str(tmp_path)])


def test_a_file_that_is_gone(made):
    table = made(pl.DataFrame({"x": [1]}), pl.DataFrame({"x": [2]}))
    next(Path(folder(table)).rglob("*.parquet")).unlink()
    with pytest.raises(NoFilesError, match="1 of its 2 files are not there any more.*snapshots expire"):
        rd.read_iceberg(table)
